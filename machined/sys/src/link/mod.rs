//! The link between init and machined: what they say to each other over a SOCK_SEQPACKET pair.
//!
//! One message is one frame of fixed size with at most one descriptor. init makes the pair, machined inherits its end as
//! descriptor [`FD`]; a new pair for every start of machined. machined uses [`Client`], init [`Server`].

mod endpoint;
mod frame;
mod name;
#[cfg(test)]
mod tests;

use crate::Pid;
use std::os::fd::RawFd;

pub use endpoint::{Client, Endpoint, Error, Server, pair};
pub use frame::{FRAME_SIZE, Frame, Malformed, register_frame};
pub use name::{Name, NameError};

/// The descriptor under which machined finds its end.
pub const FD: RawFd = 3;

/// What machined asks of init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// I am alive; at least every five seconds.
    Heartbeat,
    /// Keep this descriptor (sent along); replaces one of the same name. Answered by Done or Refused.
    Put {
        /// Under this name.
        name: Name,
        /// What init may do with it.
        kind: Kind,
    },
    /// Close your copy. Answered by Done, also when there was none.
    Drop {
        /// Of this name.
        name: Name,
    },
    /// Give me everything you keep: Entry*, Status*, then Fetched.
    Fetch,
    /// Keep this process's exit status if you reap it. Sent by the forked child itself, before exec. Not answered.
    Register {
        /// The sender.
        pid: Pid,
    },
    /// I have this pid's status. Not answered.
    Forget {
        /// The process.
        pid: Pid,
    },
    /// I have begun an orderly stop: if I die or take too long, finish it. Answered by Stands.
    Stopping {
        /// How it is to end.
        action: Action,
    },
    /// How what was booted stands. Not answered. Until the first one, and while it is on trial, init reboots a machine whose
    /// machined ends again and again.
    Standing {
        /// Of what runs.
        standing: Standing,
    },
    /// Everything of mine is stopped: kill what is left, unmount, sync, act. Not answered.
    Stop {
        /// How it is to end, unless a stop stands already: that one counts.
        action: Action,
    },
}

/// What init tells machined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The Put or Drop (answered in order) is done.
    Done,
    /// The Put (answered in order) is not.
    Refused {
        /// The reason.
        why: Refusal,
    },
    /// The Stopping (answered in order) is heard.
    Stands {
        /// How the stop ends: as the first wish init has heard of said, whoever's it was.
        action: Action,
    },
    /// One kept descriptor; a duplicate of it comes along.
    Entry {
        /// Its name.
        name: Name,
        /// Its kind.
        kind: Kind,
        /// Bytes that init drained and threw away because nobody read, since the entry was put: a new Put acknowledges.
        dropped: u64,
    },
    /// A registered process ended and init had to reap it; repeated on every Fetch until Forget.
    Status {
        /// The process.
        pid: Pid,
        /// Its end.
        status: ExitStatus,
    },
    /// The end of the answer to Fetch.
    Fetched {
        /// How often machined was started since boot, this time included.
        generation: u32,
        /// How the previous machined ended; none for the first.
        last: Option<ExitStatus>,
        /// The previous machined was killed because its heartbeat stopped.
        hung: bool,
    },
    /// Stop the machine in good order, then send Stop.
    StopWanted {
        /// How it is to end.
        action: Action,
        /// Who wants it.
        cause: Cause,
    },
}

/// What init may do with a kept descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing but keep it.
    Plain,
    /// The read end of a log pipe: drained while no machined reads it.
    LogPipe,
    /// A power button's event device: a press powers the machine off while no machined reads it.
    Button,
}

/// How what was booted stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not on trial, or was proven: the machine stays up whatever becomes of machined.
    Settled,
    /// It is on trial, and to be proven within so many seconds from now.
    Trial {
        /// After which init reboots.
        seconds: u32,
    },
}

/// How a stop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start again through the firmware.
    Reboot,
    /// Switch the machine off.
    PowerOff,
    /// Stop the processors, leave the power on.
    Halt,
}

/// Who wanted a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Ctrl-Alt-Del on a keyboard, or SIGINT.
    CtrlAltDel,
    /// SIGTERM sent to PID 1 (reboot), or SIGUSR1 (halt), or SIGUSR2 (power off).
    Signal,
    /// SIGPWR: a power supply or hypervisor.
    Power,
    /// The power button.
    Button,
}

/// Why a Put was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The store holds as many descriptors as it can.
    Full,
    /// The Put came without a descriptor.
    NoDescriptor,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signaled {
        /// Its number.
        signal: i32,
        /// Whether it dumped core.
        core: bool,
    },
}

impl ExitStatus {
    /// Ended by itself with code zero.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled { signal, core: false } => write!(f, "signal {signal}"),
            Self::Signaled { signal, core: true } => write!(f, "signal {signal}, core dumped"),
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "power off",
            Self::Halt => "halt",
        })
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CtrlAltDel => "Ctrl-Alt-Del",
            Self::Signal => "signal to PID 1",
            Self::Power => "power failure signal",
            Self::Button => "power button",
        })
    }
}
