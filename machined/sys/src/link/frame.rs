//! Frames: each message as 96 bytes, so that neither side allocates or parses text. Pure; used by the endpoints and by the
//! forked child that registers itself.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | version, 1 |
//! | 1 | tag: requests from 1, events from 129 |
//! | 2, 3 | small values of the message |
//! | 4..8 | pid, generation or seconds, little endian |
//! | 8..12 | exit code or signal |
//! | 16..24 | dropped bytes |
//! | 24, 25..88 | length of the name, name |

use super::{Action, Cause, Event, ExitStatus, Kind, Name, Refusal, Request, Standing};
use crate::Pid;

/// Bytes of every frame. 96: the longest message (Entry) needs 88, rounded up to leave room in version 1.
pub const FRAME_SIZE: usize = 96;
const VERSION: u8 = 1;

/// The bytes received are no message: init and machined are of different builds, or somebody else writes to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link carried {0}, which is no message of this version: init and machined do not belong together")]
pub struct Malformed(pub &'static str);

/// A message that fits a frame.
pub trait Frame: Sized {
    /// As bytes.
    fn encode(&self) -> [u8; FRAME_SIZE];
    /// From bytes, strictly.
    fn decode(frame: &[u8]) -> Result<Self, Malformed>;
}

/// The frame a forked child sends for itself; does not allocate.
#[must_use]
pub fn register_frame(pid: Pid) -> [u8; FRAME_SIZE] {
    Request::Register { pid }.encode()
}

struct Writer([u8; FRAME_SIZE]);

impl Writer {
    fn new(tag: u8) -> Self {
        let mut bytes = [0; FRAME_SIZE];
        bytes[0] = VERSION;
        bytes[1] = tag;
        Self(bytes)
    }
    fn small(mut self, at: usize, value: u8) -> Self {
        self.0[at] = value;
        self
    }
    fn word(mut self, at: usize, value: [u8; 4]) -> Self {
        self.0[at..at + 4].copy_from_slice(&value);
        self
    }
    fn pid(self, pid: Pid) -> Self {
        self.word(4, pid.as_raw_nonzero().get().to_le_bytes())
    }
    fn status(self, status: ExitStatus) -> Self {
        match status {
            ExitStatus::Exited(code) => self.small(2, 1).word(8, code.to_le_bytes()),
            ExitStatus::Signaled { signal, core } => {
                self.small(2, if core { 3 } else { 2 }).word(8, signal.to_le_bytes())
            }
        }
    }
    fn name(mut self, name: &Name) -> Self {
        let text = name.as_str().as_bytes();
        self.0[24] = u8::try_from(text.len()).unwrap_or(0);
        self.0[25..25 + text.len()].copy_from_slice(text);
        self
    }
}

struct Reader<'a>(&'a [u8; FRAME_SIZE]);

impl<'a> Reader<'a> {
    fn new(frame: &'a [u8]) -> Result<Self, Malformed> {
        let frame: &[u8; FRAME_SIZE] = frame.try_into().map_err(|_| Malformed("a message of another size"))?;
        if frame[0] != VERSION {
            return Err(Malformed("a frame of another version"));
        }
        Ok(Self(frame))
    }
    fn word(&self, at: usize) -> [u8; 4] {
        [self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]]
    }
    fn pid(&self) -> Result<Pid, Malformed> {
        let raw = i32::from_le_bytes(self.word(4));
        if raw > 0 { Pid::from_raw(raw).ok_or(Malformed("pid 0")) } else { Err(Malformed("a pid below 1")) }
    }
    fn status(&self) -> Result<ExitStatus, Malformed> {
        let value = i32::from_le_bytes(self.word(8));
        match self.0[2] {
            1 => Ok(ExitStatus::Exited(value)),
            2 => Ok(ExitStatus::Signaled { signal: value, core: false }),
            3 => Ok(ExitStatus::Signaled { signal: value, core: true }),
            _ => Err(Malformed("an unknown exit status")),
        }
    }
    fn name(&self) -> Result<Name, Malformed> {
        let text = self.0.get(25..25 + usize::from(self.0[24])).ok_or(Malformed("a name over its limit"))?;
        Name::from_bytes(text).map_err(|_| Malformed("a malformed name"))
    }
    fn kind(&self) -> Result<Kind, Malformed> {
        match self.0[2] {
            1 => Ok(Kind::Plain),
            2 => Ok(Kind::LogPipe),
            3 => Ok(Kind::Button),
            _ => Err(Malformed("an unknown kind of descriptor")),
        }
    }
    fn action(&self) -> Result<Action, Malformed> {
        match self.0[2] {
            1 => Ok(Action::Reboot),
            2 => Ok(Action::PowerOff),
            3 => Ok(Action::Halt),
            _ => Err(Malformed("an unknown action")),
        }
    }
}

fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Plain => 1,
        Kind::LogPipe => 2,
        Kind::Button => 3,
    }
}

fn action(action: Action) -> u8 {
    match action {
        Action::Reboot => 1,
        Action::PowerOff => 2,
        Action::Halt => 3,
    }
}

impl Frame for Request {
    fn encode(&self) -> [u8; FRAME_SIZE] {
        match self {
            Self::Heartbeat => Writer::new(1),
            Self::Put { name, kind: k } => Writer::new(2).small(2, kind(*k)).name(name),
            Self::Drop { name } => Writer::new(3).name(name),
            Self::Fetch => Writer::new(4),
            Self::Register { pid } => Writer::new(5).pid(*pid),
            Self::Forget { pid } => Writer::new(6).pid(*pid),
            Self::Stopping { action: a } => Writer::new(7).small(2, action(*a)),
            Self::Stop { action: a } => Writer::new(8).small(2, action(*a)),
            Self::Standing { standing: Standing::Settled } => Writer::new(9).small(2, 1),
            Self::Standing { standing: Standing::Trial { seconds } } => {
                Writer::new(9).small(2, 2).word(4, seconds.to_le_bytes())
            }
        }
        .0
    }

    fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let r = Reader::new(frame)?;
        Ok(match r.0[1] {
            1 => Self::Heartbeat,
            2 => Self::Put { name: r.name()?, kind: r.kind()? },
            3 => Self::Drop { name: r.name()? },
            4 => Self::Fetch,
            5 => Self::Register { pid: r.pid()? },
            6 => Self::Forget { pid: r.pid()? },
            7 => Self::Stopping { action: r.action()? },
            8 => Self::Stop { action: r.action()? },
            9 => Self::Standing {
                standing: match r.0[2] {
                    1 => Standing::Settled,
                    2 => Standing::Trial { seconds: u32::from_le_bytes(r.word(4)) },
                    _ => return Err(Malformed("an unknown standing")),
                },
            },
            _ => return Err(Malformed("an unknown request")),
        })
    }
}

impl Frame for Event {
    fn encode(&self) -> [u8; FRAME_SIZE] {
        match self {
            Self::Done => Writer::new(129),
            Self::Refused { why: Refusal::Full } => Writer::new(130).small(2, 1),
            Self::Refused { why: Refusal::NoDescriptor } => Writer::new(130).small(2, 2),
            Self::Entry { name, kind: k, dropped } => {
                let mut w = Writer::new(131).small(2, kind(*k)).name(name);
                w.0[16..24].copy_from_slice(&dropped.to_le_bytes());
                w
            }
            Self::Status { pid, status } => Writer::new(132).pid(*pid).status(*status),
            Self::Fetched { generation, last, hung } => {
                let w = Writer::new(133).word(4, generation.to_le_bytes()).small(3, u8::from(*hung));
                match last {
                    Some(status) => w.status(*status),
                    None => w,
                }
            }
            Self::Stands { action: a } => Writer::new(135).small(2, action(*a)),
            Self::StopWanted { action: a, cause } => Writer::new(134).small(2, action(*a)).small(
                3,
                match cause {
                    Cause::CtrlAltDel => 1,
                    Cause::Signal => 2,
                    Cause::Power => 3,
                    Cause::Button => 4,
                },
            ),
        }
        .0
    }

    fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let r = Reader::new(frame)?;
        Ok(match (r.0[1], r.0[3]) {
            (129, _) => Self::Done,
            (130, _) => match r.0[2] {
                1 => Self::Refused { why: Refusal::Full },
                2 => Self::Refused { why: Refusal::NoDescriptor },
                _ => return Err(Malformed("an unknown refusal")),
            },
            (131, _) => {
                let low = u64::from(u32::from_le_bytes(r.word(16)));
                let high = u64::from(u32::from_le_bytes(r.word(20)));
                Self::Entry { name: r.name()?, kind: r.kind()?, dropped: high << 32 | low }
            }
            (132, _) => Self::Status { pid: r.pid()?, status: r.status()? },
            (133, hung @ (0 | 1)) => Self::Fetched {
                generation: u32::from_le_bytes(r.word(4)),
                last: if r.0[2] == 0 { None } else { Some(r.status()?) },
                hung: hung == 1,
            },
            (134, 1) => Self::StopWanted { action: r.action()?, cause: Cause::CtrlAltDel },
            (134, 2) => Self::StopWanted { action: r.action()?, cause: Cause::Signal },
            (134, 3) => Self::StopWanted { action: r.action()?, cause: Cause::Power },
            (134, 4) => Self::StopWanted { action: r.action()?, cause: Cause::Button },
            (135, _) => Self::Stands { action: r.action()? },
            _ => return Err(Malformed("an unknown event")),
        })
    }
}
