//! The life of machined as PID 1 sees it: started, heard, gone, waited for.
//!
//! Invariant: there is never a second machined beside the first, not even beside one that hangs in the kernel after
//! SIGKILL: it could come back and act on the same disks, links and services. That is said every minute instead, and after
//! `unkillable` the watchdog decides.

use crate::backoff::Backoff;
use crate::outbox::Outbox;
use crate::{Config, Console};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use sys::Pid;
use sys::link::{self, Event, ExitStatus, Server};
use sys::process::{Signal, Spawn};

/// Killed late: without it nobody restarts what was killed before it. Not -1000: a leaking machined has to be killable.
const OOM_SCORE: i16 = -900;
/// How often a machined that does not die is spoken of.
const REMINDER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Brain {
    pub(crate) state: State,
    backoff: Backoff,
    generation: u32,
    last: Option<ExitStatus>,
    hung: bool,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, and PID 1 does not allocate for it")]
pub(crate) enum State {
    /// Not running, to be started at.
    Gone {
        due: Instant,
    },
    Running(Life),
}

#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) pid: Pid,
    pub(crate) link: Server,
    pub(crate) outbox: Outbox,
    /// machined closed its end, or broke the rules: not polled any more, the heartbeat decides.
    pub(crate) deaf: bool,
    /// It has put a power button: it has it open and reads it.
    pub(crate) buttons: bool,
    born: Instant,
    heard: Instant,
    checked: Instant,
    killed: Option<Killed>,
}

#[derive(Debug, Clone, Copy)]
struct Killed {
    at: Instant,
    /// Because its heartbeat stopped; otherwise because it could not be told what it asked.
    hung: bool,
    /// When to say that it lives still.
    remind: Instant,
}

impl Brain {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            state: State::Gone { due: now },
            backoff: Backoff::new(&config.timings),
            generation: 0,
            last: None,
            hung: false,
        }
    }

    pub(crate) fn life(&mut self) -> Option<&mut Life> {
        match &mut self.state {
            State::Running(life) => Some(life),
            State::Gone { .. } => None,
        }
    }

    /// The end of the answer to Fetch.
    pub(crate) fn fetched(&self) -> Event {
        Event::Fetched { generation: self.generation, last: self.last, hung: self.hung }
    }

    /// Starts machined if it is time.
    pub(crate) fn start(&mut self, config: &Config, output: BorrowedFd<'_>, console: &mut Console, now: Instant) {
        let State::Gone { due } = self.state else { return };
        if now < due {
            return;
        }
        self.generation = self.generation.saturating_add(1);
        match spawn(config, output) {
            Ok((pid, link)) => {
                let outbox = Outbox::default();
                self.state = State::Running(Life {
                    pid,
                    link,
                    outbox,
                    deaf: false,
                    buttons: false,
                    born: now,
                    heard: now,
                    checked: now,
                    killed: None,
                });
            }
            Err(e) => {
                let pause = self.backoff.after(Duration::ZERO, &config.timings);
                console.warn(format_args!("machined does not start: {e}; next try in {} ms", pause.as_millis()));
                self.state = State::Gone { due: now + pause };
            }
        }
    }

    /// Kills a machined that was silent for too long; it is reaped like any other.
    pub(crate) fn check(&mut self, config: &Config, console: &mut Console, now: Instant) {
        let State::Running(life) = &mut self.state else { return };
        let limit = config.timings.heartbeat;
        // When PID 1 itself did not run (a paused virtual machine), machined could not either: it gets its time again.
        if now > life.checked + limit / 2 {
            life.heard = now;
        }
        life.checked = now;
        if let Some(killed) = &mut life.killed {
            if now >= killed.remind {
                killed.remind = now + REMINDER;
                let since = (now - killed.at).as_secs();
                console.warn(format_args!(
                    "machined was killed {since} s ago and is not gone: it hangs in the kernel (a disk?); services run, nobody manages them"
                ));
            }
            return;
        }
        if now < life.heard + limit {
            return;
        }
        let silent = (now - life.heard).as_secs();
        console.warn(format_args!("machined hangs: no heartbeat for {silent} s; it is killed and started again"));
        life.kill(now, true);
    }

    /// Whether machined is beyond help: only a reset of the machine brings another.
    pub(crate) fn lost(&self, config: &Config, now: Instant) -> bool {
        match &self.state {
            State::Running(Life { killed: Some(killed), .. }) => now >= killed.at + config.timings.unkillable,
            _ => false,
        }
    }

    /// machined has ended; how long it lived.
    pub(crate) fn ended(
        &mut self,
        status: ExitStatus,
        config: &Config,
        console: &mut Console,
        now: Instant,
    ) -> Duration {
        let State::Running(life) = &self.state else { return Duration::ZERO };
        let lived = now - life.born;
        let pause = self.backoff.after(lived, &config.timings);
        self.last = Some(status);
        self.hung = life.killed.is_some_and(|killed| killed.hung);
        self.state = State::Gone { due: now + pause };
        let (secs, pause) = (lived.as_secs(), pause.as_millis());
        console.warn(format_args!("machined ended ({status}) after {secs} s; it is started again in {pause} ms"));
        lived
    }

    /// When `start` or `check` has something to do.
    pub(crate) fn due(&self, config: &Config) -> Option<Instant> {
        match &self.state {
            State::Gone { due } => Some(*due),
            State::Running(Life { killed: Some(killed), .. }) => Some(killed.remind),
            // Often enough to tell a silent machined from a machine that stood still.
            State::Running(life) => {
                let limit = config.timings.heartbeat;
                Some((life.heard + limit).min(life.checked + limit / 4))
            }
        }
    }
}

impl Life {
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether it reads the power buttons: it has opened them, and nobody thinks that it hangs.
    pub(crate) fn reads_buttons(&self) -> bool {
        self.buttons && self.killed.is_none()
    }

    /// Once is enough; it is reaped like any other. `hung`: its heartbeat stopped.
    pub(crate) fn kill(&mut self, now: Instant, hung: bool) {
        if self.killed.is_none() {
            // Not reaped yet, so the pid is its own.
            let _ = sys::process::kill(self.pid, Signal::KILL);
            self.killed = Some(Killed { at: now, hung, remind: now + REMINDER });
        }
    }
}

fn spawn(config: &Config, output: BorrowedFd<'_>) -> Result<(Pid, Server), Failure> {
    // A pair for every life, so that nobody reads what was meant for the one before.
    let (server, client) = link::pair().map_err(Failure::Link)?;
    let cgroup: Option<File> = OpenOptions::new().write(true).open(&config.cgroup).ok();
    let mut spawn = Spawn {
        program: config.machined.clone(),
        argv: config.argv.clone(),
        env: config.env.clone(),
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
        descriptors: vec![client.as_fd()],
        stdout: Some(output),
        stderr: Some(output),
        oom_score_adj: Some(OOM_SCORE),
        session: true,
        ..Spawn::default()
    };
    let child = match spawn.start() {
        // A cgroup on its way out, or a score a container forbids: better a machined without than none.
        Err(sys::process::Error::Child { step, .. }) if step != sys::process::Step::Exec => {
            spawn.cgroup = None;
            spawn.oom_score_adj = None;
            spawn.start()
        }
        other => other,
    };
    child.map(|child| (child.pid, server)).map_err(Failure::Spawn)
}

#[derive(Debug)]
enum Failure {
    Link(std::io::Error),
    Spawn(sys::process::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(e) => write!(f, "no socket pair: {e}"),
            Self::Spawn(e) => write!(f, "{}", sys::Chain(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A life that was told to end and has not ended yet.
    fn killed(at: Instant, hung: bool) -> State {
        State::Running(Life {
            pid: rustix::process::getpid(),
            link: link::pair().unwrap().0,
            outbox: Outbox::default(),
            deaf: true,
            buttons: false,
            born: at,
            heard: at,
            checked: at,
            killed: Some(Killed { at, hung, remind: at + REMINDER }),
        })
    }

    #[test]
    fn one_that_does_not_die_is_spoken_of_and_never_doubled() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer = std::os::fd::OwnedFd::from(writer);
        let mut console = Console::to(writer.into());
        let config = Config::node(0, 0);
        let start = Instant::now();
        let mut brain = Brain::new(&config, start);
        brain.state = killed(start, true);
        assert_eq!(brain.due(&config), Some(start + REMINDER));
        let lost: Vec<u64> = (0..=700)
            .filter(|s| {
                let now = start + Duration::from_secs(*s);
                brain.check(&config, &mut console, now);
                brain.lost(&config, now)
            })
            .collect();
        assert_eq!((lost.first(), lost.len()), (Some(&600), 101));
        assert!(matches!(brain.state, State::Running(_)));
        drop(console);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut reader, &mut said).unwrap();
        assert_eq!(said.matches("is not gone").count(), 11, "{said}");
    }

    #[test]
    fn only_one_whose_heartbeat_stopped_hung() {
        let config = Config::node(0, 0);
        let start = Instant::now();
        let writer = std::os::fd::OwnedFd::from(std::io::pipe().unwrap().1);
        let mut console = Console::to(writer.into());
        for hung in [false, true] {
            let mut brain = Brain::new(&config, start);
            brain.state = killed(start, hung);
            let how = ExitStatus::Signaled { signal: 9, core: false };
            brain.ended(how, &config, &mut console, start);
            assert_eq!(brain.fetched(), Event::Fetched { generation: 0, last: Some(how), hung });
        }
    }
}
