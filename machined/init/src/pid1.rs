//! The loop of PID 1. Each turn: wait, signals, machined's output, its requests, ended children, what is due.

use crate::brain::{Brain, State};
use crate::drain::Drain;
use crate::feeder::Feeder;
use crate::output::Output;
use crate::standing::Standing;
use crate::statuses::Statuses;
use crate::store::Store;
use crate::{Config, Console};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::io;
use std::time::{Duration, Instant};
use sys::link::{Action, Cause};
use sys::process::{Children, Signal};
use sys::signal::SignalFd;

/// Children reaped in one turn, so that a storm of orphans cannot hold PID 1.
const REAPED: u32 = 256;

/// Power buttons polled at once; a machine has one or two.
const BUTTONS: usize = 4;

/// Before the next try to send when the kernel is short of memory: the socket is writable then, so poll would not wait.
const SHORT: Duration = Duration::from_millis(100);

/// All of PID 1's state; made once, of constant size.
#[derive(Debug)]
pub struct Pid1 {
    pub(crate) config: Config,
    pub(crate) console: Console,
    pub(crate) signals: SignalFd,
    pub(crate) feeder: Feeder,
    pub(crate) store: Store,
    pub(crate) statuses: Statuses,
    pub(crate) brain: Brain,
    pub(crate) standing: Standing,
    output: Output,
    stopping: Option<Stopping>,
    drain: Drain,
    /// More children have ended than one turn takes.
    unreaped: bool,
}

#[derive(Debug, Clone, Copy)]
struct Stopping {
    action: Action,
    deadline: Instant,
}

impl Pid1 {
    /// Takes over signals and says that init has started.
    pub fn new(config: Config, mut console: Console) -> io::Result<Self> {
        let wanted = [Signal::CHILD, Signal::TERM, Signal::INT, Signal::USR1, Signal::USR2, Signal::POWER, Signal::HUP];
        let signals = SignalFd::new(&wanted.map(Signal::as_raw))?;
        if let Err(e) = sys::reboot::catch_ctrl_alt_del() {
            console.warn(format_args!("Ctrl-Alt-Del will reset the machine at once: {e}"));
        }
        let now = Instant::now();
        let mut feeder = Feeder::new(config.watchdog, now);
        feeder.tick(now, &config.timings, &mut console);
        console.say(format_args!("init started"));
        Ok(Self {
            brain: Brain::new(&config, now),
            standing: Standing::new(&config.timings, now),
            feeder,
            output: Output::new()?,
            store: Store::new(),
            statuses: Statuses::new(),
            stopping: None,
            drain: Drain::default(),
            unreaped: false,
            config,
            console,
            signals,
        })
    }

    /// Runs until the machine is to stop.
    pub fn run(&mut self) -> Action {
        loop {
            if let Some(action) = self.turn() {
                return action;
            }
        }
    }

    fn turn(&mut self) -> Option<Action> {
        self.wait();
        let now = Instant::now();
        self.take_signals(now);
        self.take_presses(now);
        self.output.relay(&mut self.console);
        let told = self.converse(now);
        let gone = self.reap(now);
        // Nothing but this decides about the end; machined's own word first.
        if told.is_some() || gone.is_some() {
            return told.or(gone);
        }
        if let Some(stopping) = self.stopping {
            if now >= stopping.deadline {
                self.console.warn(format_args!("machined took too long to stop; init goes on without it"));
                return Some(stopping.action);
            }
            if matches!(self.brain.state, State::Gone { .. }) {
                return Some(stopping.action);
            }
        }
        if self.stopping.is_none()
            && let Some(why) = self.standing.over(now)
        {
            self.console.warn(format_args!("{why}: the machine is started anew"));
            return Some(Action::Reboot);
        }
        self.brain.start(&self.config, self.output.writer(), &mut self.console, now);
        self.brain.check(&self.config, &mut self.console, now);
        self.drain(now);
        self.feeder.starve(self.brain.lost(&self.config, now));
        self.feeder.tick(now, &self.config.timings, &mut self.console);
        None
    }

    fn wait(&mut self) {
        let now = Instant::now();
        let timings = &self.config.timings;
        let deadlines = [
            self.brain.due(&self.config),
            self.drain.due(timings),
            self.feeder.due(),
            self.stopping.map(|s| s.deadline),
            self.standing.due(),
        ];
        let short = match &self.brain.state {
            State::Running(life) => life.outbox.short(),
            State::Gone { .. } => false,
        };
        let deadlines = deadlines.into_iter().chain([short.then_some(now + SHORT)]);
        let next = if self.unreaped { Some(now) } else { deadlines.flatten().min() };
        let patience = next.map(|at| timespec(at.saturating_duration_since(now)));
        let link = match &self.brain.state {
            State::Running(life) if !life.deaf => Some(life),
            _ => None,
        };
        // A place without a use of its own is a repetition.
        let mut set: [_; 3 + BUTTONS] = std::array::from_fn(|_| PollFd::new(&self.signals, PollFlags::IN));
        set[1] = PollFd::from_borrowed_fd(self.output.reader(), PollFlags::IN);
        if !self.has_reader() {
            for (place, button) in set[3..].iter_mut().zip(self.store.buttons()) {
                *place = PollFd::new(button, PollFlags::IN);
            }
        }
        if let Some(life) = link {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, !life.outbox.busy());
            wanted.set(PollFlags::OUT, !short && life.outbox.waiting(&self.statuses));
            set[2] = PollFd::new(&life.link, wanted);
        }
        // EINTR and out of memory alike: the turn looks at everything anyway.
        let _ = poll(&mut set, patience.as_ref());
    }

    fn take_signals(&mut self, now: Instant) {
        while let Ok(Some(signal)) = self.signals.next() {
            let (action, cause) = match Signal::from_named_raw(signal) {
                Some(Signal::INT) => (Action::Reboot, Cause::CtrlAltDel),
                Some(Signal::TERM) => (Action::Reboot, Cause::Signal),
                Some(Signal::USR1) => (Action::Halt, Cause::Signal),
                Some(Signal::USR2) => (Action::PowerOff, Cause::Signal),
                Some(Signal::POWER) => (Action::PowerOff, Cause::Power),
                // SIGCHLD only wakes; SIGHUP means nothing here.
                _ => continue,
            };
            self.want(action, cause, now);
        }
    }

    /// The power button, while no machined reads it.
    fn take_presses(&mut self, now: Instant) {
        if !self.has_reader() && self.store.pressed() {
            self.want(Action::PowerOff, Cause::Button, now);
        }
    }

    fn has_reader(&self) -> bool {
        matches!(&self.brain.state, State::Running(life) if life.reads_buttons())
    }

    /// Somebody wants a stop: machined is told, and what stands is done without it when there is none.
    fn want(&mut self, action: Action, cause: Cause, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        self.console.say(format_args!("stopping: {cause}"));
        self.stop(action, now);
        if let Some(life) = self.brain.life() {
            life.outbox.stop(action, cause);
        }
    }

    /// The first wish counts, here and nowhere else; a stop is never taken back or prolonged. Returns what stands.
    pub(crate) fn stop(&mut self, action: Action, now: Instant) -> Action {
        let deadline = now + self.config.timings.stop;
        self.stopping.get_or_insert(Stopping { action, deadline }).action
    }

    /// Records the end of every ended child, then reaps it. A child's registration was sent before its end, so reading
    /// requests between the look and the record never misses one.
    fn reap(&mut self, now: Instant) -> Option<Action> {
        let mut told = None;
        self.unreaped = false;
        for turn in 0.. {
            let Ok(Children::Ended(ended)) = sys::process::peek() else { break };
            if turn == REAPED {
                self.unreaped = true;
                break;
            }
            let machined = self.brain.life().is_some_and(|life| life.pid == ended.pid);
            told = told.or(if machined { self.hear_out(now) } else { self.converse(now) });
            self.statuses.ended(ended.pid, ended.status);
            if machined {
                self.output.relay(&mut self.console);
                self.output.flush(&mut self.console);
                let lived = self.brain.ended(ended.status, &self.config, &mut self.console, now);
                self.standing.ended(lived, &self.config.timings);
            }
            let _ = sys::process::reap(ended.pid);
            if machined {
                // Its children are ours by now, so what is not alive was reaped by it.
                self.statuses.sweep(sys::process::alive);
            }
        }
        told
    }

    /// Empties the log pipes while no machined reads them.
    fn drain(&mut self, now: Instant) {
        let listening = self.brain.life().is_some_and(|life| life.outbox.listening());
        if self.drain.is_due(listening, &self.config.timings, now) {
            self.store.drain();
        }
    }
}

pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}
