//! Exit statuses of registered processes, kept until machined has them. A table of fixed size; pure but for asking the kernel
//! whether a pid still exists.

use sys::Pid;
use sys::link::ExitStatus;

/// How many fit: twice the descriptor store's entries, as a service may have a process of its own besides the main one.
pub(crate) const CAPACITY: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended { status: ExitStatus, told: bool },
}

#[derive(Debug)]
pub(crate) struct Statuses {
    entries: Box<[Option<(Pid, State)>]>,
}

impl Statuses {
    pub(crate) fn new() -> Self {
        Self { entries: vec![None; CAPACITY].into_boxed_slice() }
    }

    /// Remembers a process; false when there is no room. A pid seen before is used again: the old process is long gone.
    pub(crate) fn register(&mut self, pid: Pid) -> bool {
        let free = self.find(pid).or_else(|| self.entries.iter().position(Option::is_none)).or_else(|| {
            self.sweep(sys::process::alive);
            self.entries.iter().position(Option::is_none)
        });
        if let Some(place) = free {
            self.entries[place] = Some((pid, State::Running));
        }
        free.is_some()
    }

    /// machined has it.
    pub(crate) fn forget(&mut self, pid: Pid) {
        if let Some(place) = self.find(pid) {
            self.entries[place] = None;
        }
    }

    /// Records an end, if the process was registered.
    pub(crate) fn ended(&mut self, pid: Pid, status: ExitStatus) {
        if let Some(place) = self.find(pid) {
            self.entries[place] = Some((pid, State::Ended { status, told: false }));
        }
    }

    /// Forgets running processes that are gone: machined reaped them and died before it said so.
    pub(crate) fn sweep(&mut self, alive: impl Fn(Pid) -> bool) {
        for place in &mut self.entries {
            if let Some((pid, State::Running)) = place
                && !alive(*pid)
            {
                *place = None;
            }
        }
    }

    /// Everything has to be told again: somebody new asks.
    pub(crate) fn retell(&mut self) {
        for (_, state) in self.entries.iter_mut().flatten() {
            if let State::Ended { told, .. } = state {
                *told = false;
            }
        }
    }

    /// The next end that is not told yet.
    pub(crate) fn untold(&self) -> Option<(Pid, ExitStatus)> {
        self.entries.iter().flatten().find_map(|(pid, state)| match state {
            State::Ended { status, told: false } => Some((*pid, *status)),
            _ => None,
        })
    }

    /// It is.
    pub(crate) fn told(&mut self, pid: Pid) {
        if let Some(place) = self.find(pid)
            && let Some((_, State::Ended { told, .. })) = &mut self.entries[place]
        {
            *told = true;
        }
    }

    fn find(&self, pid: Pid) -> Option<usize> {
        self.entries.iter().position(|e| e.is_some_and(|(p, _)| p == pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::from_raw(raw).unwrap()
    }

    #[test]
    fn keeps_the_ends_of_registered_processes_until_forgotten() {
        let mut statuses = Statuses::new();
        assert!(statuses.register(pid(10)));
        statuses.ended(pid(11), ExitStatus::Exited(1));
        assert_eq!(statuses.untold(), None);
        statuses.ended(pid(10), ExitStatus::Exited(3));
        assert_eq!(statuses.untold(), Some((pid(10), ExitStatus::Exited(3))));
        statuses.told(pid(10));
        assert_eq!(statuses.untold(), None);
        statuses.retell();
        assert!(statuses.untold().is_some());
        statuses.forget(pid(10));
        assert_eq!(statuses.untold(), None);
    }

    #[test]
    fn a_pid_used_again_is_a_new_process() {
        let mut statuses = Statuses::new();
        statuses.register(pid(10));
        statuses.ended(pid(10), ExitStatus::Exited(3));
        statuses.register(pid(10));
        assert_eq!(statuses.untold(), None);
    }

    #[test]
    fn a_full_table_drops_the_dead_and_refuses_the_rest() {
        let mut statuses = Statuses::new();
        // Our own process is alive; no process has a pid above the kernel's limit of 4 Mi.
        let me = rustix::process::getpid();
        assert!(statuses.register(me));
        for n in 1..CAPACITY {
            assert!(statuses.register(pid(5_000_000 + i32::try_from(n).unwrap())));
        }
        assert!(statuses.register(pid(6_000_000)), "the dead make room");
        let mut full = Statuses::new();
        for n in 0..CAPACITY {
            let p = pid(5_000_000 + i32::try_from(n).unwrap());
            full.register(p);
            full.ended(p, ExitStatus::Exited(0));
        }
        assert!(!full.register(pid(6_000_000)), "an end not yet collected is kept");
        statuses.sweep(|p| p == me);
        statuses.ended(me, ExitStatus::Exited(0));
        assert_eq!(statuses.untold(), Some((me, ExitStatus::Exited(0))));
    }
}
