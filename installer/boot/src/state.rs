//! The boot state: which generations there are, how far each is proven, and what was started last. It is the payload of
//! [`crate::record::Kind::Boot`] in META's [`crate::meta::BOOT`]; the loader and machined write it.
//!
//! Invariant: a record with it fits into one sector of 512 bytes. Bytes that this release does not know are kept as they are,
//! so a release that adds a field loses nothing to an older loader; one that changes the meaning of a field raises the version,
//! and an older loader takes the state for unreadable.

use crate::bytes;
use crate::entry::{NUMBER_MAX, Which};
use crate::uki::{Digest, Uki};

/// Version that this release writes, and the newest it reads.
pub const VERSION: u16 = 1;
/// Bytes of an encoded state.
pub const LEN: usize = 256;
/// Starts that a new generation gets.
pub const TRIES: u8 = 3;

/// Starts that something blessed gets, in a row and without coming up, before something else is started.
pub const STRIKES: u8 = 8;
/// After the current generation, the other one and recovery had theirs, it begins anew.
pub const ROUND: u8 = 3 * STRIKES;

/// Why a UKI was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reject {
    /// There is no such file.
    Missing = 1,
    /// The disk or the file system could not be read.
    Unreadable = 2,
    /// Its length is not the one that was recorded.
    Length = 3,
    /// Its SHA-256 is not the one that was recorded.
    Damaged = 4,
    /// The firmware's Secure Boot refused it.
    Refused = 5,
    /// The firmware could not load it for another reason.
    Unloadable = 6,
}

impl Reject {
    const ALL: [Self; 6] =
        [Self::Missing, Self::Unreadable, Self::Length, Self::Damaged, Self::Refused, Self::Unloadable];

    const fn from(code: u8) -> Option<Self> {
        let mut at = 0;
        while at < Self::ALL.len() {
            if Self::ALL[at] as u8 == code {
                return Some(Self::ALL[at]);
            }
            at += 1;
        }
        None
    }
}

/// Why a trial is over without a blessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was started as often as it may, and was never blessed.
    Tries,
    /// Its file was not started.
    File(Reject),
    /// It ran and gave itself up: a gate failed.
    Gate,
    /// Somebody took it back.
    Operator,
    /// One that a later release knows.
    Other(u8),
}

impl Failure {
    const fn code(self) -> u8 {
        match self {
            Self::Tries => 1,
            Self::Gate => 2,
            Self::Operator => 3,
            Self::File(reject) => 0x10 | reject as u8,
            Self::Other(code) => code,
        }
    }

    const fn from(code: u8) -> Self {
        match code {
            1 => Self::Tries,
            2 => Self::Gate,
            3 => Self::Operator,
            _ if code & 0xf0 == 0x10 => match Reject::from(code & 0x0f) {
                Some(reject) => Self::File(reject),
                None => Self::Other(code),
            },
            _ => Self::Other(code),
        }
    }
}

/// How far a generation is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// To be started this many times more, until it is blessed.
    Trial {
        /// Starts that are left.
        tries: u8,
    },
    /// Proven.
    Blessed,
    /// Not to be started again.
    Failed(Failure),
}

/// A generation: a UKI and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Rises with each generation of this disk; 1 is what was installed.
    pub number: u32,
    /// Its UKI.
    pub uki: Uki,
    /// How far it is proven.
    pub phase: Phase,
    /// The newest revision of the configuration that was blessed with it; 0: none.
    pub revision: u64,
}

/// Why the loader started what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// It is on trial.
    Trial = 1,
    /// It is what boots when nothing is on trial.
    Current = 2,
    /// The current one could not be started, or never came up; this one is blessed, too.
    Other = 3,
    /// Recovery was asked for.
    Asked = 4,
    /// Nothing that is blessed could be started, or came up.
    Last = 5,
    /// The boot state could not be read: the oldest generation that has an entry.
    Stateless = 6,
}

impl Cause {
    const ALL: [Self; 6] = [Self::Trial, Self::Current, Self::Other, Self::Asked, Self::Last, Self::Stateless];

    fn from(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u8 == code)
    }
}

/// The firmware's volatile variable that the loader sets when what it starts is on trial, beside those of the Boot Loader Interface: a
/// system that does not find its disk must know that it is not proven.
pub const TRIAL_VARIABLE: &str = "SteleTrial";

/// What the loader started last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What.
    pub which: Which,
    /// Why.
    pub cause: Cause,
    /// What it could not start before that, and why: the generation in slot A, that in slot B, recovery.
    pub rejected: [Option<Reject>; 3],
}

/// The boot state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The generation that boots when nothing is on trial: the one blessed last, or rolled back to.
    pub current: u32,
    /// The number that the next generation gets; higher than any that ever was.
    pub next: u32,
    /// The next boot is to be recovery, once.
    pub recover: bool,
    /// Starts since a system of this disk was last up (see [`State::up`]), trials left out; counts around [`ROUND`].
    pub strikes: u8,
    /// Starts of this disk, so that `chosen` can be told from that of an earlier boot.
    pub boots: u32,
    /// The recovery system, if there is one.
    pub recovery: Option<Uki>,
    /// Slots A and B.
    pub slots: [Option<Generation>; 2],
    /// What was started last; none before the first boot by a loader that could write.
    pub chosen: Option<Chosen>,
    /// Fields of later releases.
    pub rest: [u8; REST],
}

// version 0..2, flags 2, strikes 3, current 4..8, next 8..12, chosen 12..20 (which u32, cause, rejected 3), boots 20..24, recovery 24..64, slot A 64..128, slot B 128..192, rest 192..256
// slot: number 0..4, phase 4, argument 5, zero 6..8, revision 8..16, uki 16..56, zero 56..64
const REST: usize = 64;
const SLOTS_AT: [usize; 2] = [64, 128];
const RECOVER: u8 = 1;
/// What stands for recovery where a number is expected.
const RECOVERY: u32 = u32::MAX;

/// Why a payload is no boot state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Its checksum is right and its content is not: a fault of whoever wrote it.
    Malformed,
    /// Written by a newer release, with this version.
    Newer(u16),
}

impl core::fmt::Display for Error {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Malformed => to.write_str("it is no boot state"),
            Self::Newer(version) => {
                write!(to, "boot state version {version} is newer than this release reads (up to {VERSION})")
            }
        }
    }
}

impl core::error::Error for Error {}

impl State {
    /// The state of a disk that was just made: generation 1, blessed.
    #[must_use]
    pub const fn first(uki: Uki, recovery: Option<Uki>) -> Self {
        let first = Generation { number: 1, uki, phase: Phase::Blessed, revision: 0 };
        Self {
            current: 1,
            next: 2,
            recover: false,
            strikes: 0,
            boots: 0,
            recovery,
            slots: [Some(first), None],
            chosen: None,
            rest: [0; REST],
        }
    }

    /// The generation with this number.
    #[must_use]
    pub fn generation(&self, number: u32) -> Option<&Generation> {
        self.slots.iter().flatten().find(|generation| generation.number == number)
    }

    /// The same, to be changed.
    pub fn generation_mut(&mut self, number: u32) -> Option<&mut Generation> {
        self.slots.iter_mut().flatten().find(|generation| generation.number == number)
    }

    /// The generation on trial, started or not.
    #[must_use]
    pub fn trial(&self) -> Option<&Generation> {
        self.slots.iter().flatten().find(|generation| matches!(generation.phase, Phase::Trial { .. }))
    }

    /// The state once what was started has come up: somebody could reach it and mend it.
    #[must_use]
    pub const fn up(&self) -> Self {
        Self { strikes: 0, ..*self }
    }

    /// The payload of the record.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let mut to = [0; LEN];
        bytes::put(&mut to, 0, &VERSION.to_le_bytes());
        to[2] = if self.recover { RECOVER } else { 0 };
        to[3] = self.strikes;
        bytes::put(&mut to, 20, &self.boots.to_le_bytes());
        bytes::put(&mut to, 4, &self.current.to_le_bytes());
        bytes::put(&mut to, 8, &self.next.to_le_bytes());
        if let Some(chosen) = &self.chosen {
            let number = match chosen.which {
                Which::Generation(number) => number,
                Which::Recovery => RECOVERY,
            };
            bytes::put(&mut to, 12, &number.to_le_bytes());
            to[16] = chosen.cause as u8;
            for (to, reject) in to[17..20].iter_mut().zip(chosen.rejected) {
                *to = reject.map_or(0, |reject| reject as u8);
            }
        }
        if let Some(recovery) = &self.recovery {
            put_uki(&mut to, 24, recovery);
        }
        for (at, generation) in SLOTS_AT.into_iter().zip(&self.slots) {
            if let Some(generation) = generation {
                put_generation(&mut to, at, generation);
            }
        }
        bytes::put(&mut to, LEN - REST, &self.rest);
        to
    }

    /// Reads a payload. It is consistent in itself: numbers are below `next` and differ, at most one generation is on trial.
    ///
    /// # Errors
    /// When it is none, or of a newer release.
    pub fn decode(from: &[u8]) -> Result<Self, Error> {
        let version = bytes::u16(from, 0).ok_or(Error::Malformed)?;
        if version > VERSION {
            return Err(Error::Newer(version));
        }
        parse(from).filter(State::is_sound).ok_or(Error::Malformed)
    }

    fn is_sound(&self) -> bool {
        let [a, b] = &self.slots;
        let apart = match (a, b) {
            (Some(a), Some(b)) => {
                a.number != b.number
                    && !(matches!(a.phase, Phase::Trial { .. }) && matches!(b.phase, Phase::Trial { .. }))
            }
            _ => true,
        };
        apart && self.next <= NUMBER_MAX && self.slots.iter().flatten().all(|g| (1..self.next).contains(&g.number))
    }
}

fn parse(from: &[u8]) -> Option<State> {
    let from = from.get(..LEN)?;
    if bytes::u16(from, 0)? != VERSION {
        return None;
    }
    Some(State {
        current: bytes::u32(from, 4)?,
        next: bytes::u32(from, 8)?,
        recover: from[2] & RECOVER != 0,
        strikes: from[3] % ROUND,
        boots: bytes::u32(from, 20)?,
        recovery: uki(from, 24)?,
        slots: [generation(from, SLOTS_AT[0])?, generation(from, SLOTS_AT[1])?],
        chosen: chosen(from)?,
        rest: bytes::array(from, LEN - REST)?,
    })
}

fn chosen(from: &[u8]) -> Option<Option<Chosen>> {
    let which = match bytes::u32(from, 12)? {
        0 => return Some(None),
        RECOVERY => Which::Recovery,
        number => Which::Generation(number),
    };
    // A release to come may know more causes: this one then does not know what was chosen, which decides nothing.
    let Some(cause) = Cause::from(from[16]) else { return Some(None) };
    Some(Some(Chosen { which, cause, rejected: [17, 18, 19].map(|at| Reject::from(from[at])) }))
}

/// `Some(None)` when there is none: its size is 0.
fn uki(from: &[u8], at: usize) -> Option<Option<Uki>> {
    let size = bytes::u64(from, at + 32)?;
    let digest = Digest(bytes::array(from, at)?);
    Some((size != 0).then_some(Uki { digest, size }))
}

fn put_uki(to: &mut [u8], at: usize, uki: &Uki) {
    bytes::put(to, at, &uki.digest.0);
    bytes::put(to, at + 32, &uki.size.to_le_bytes());
}

/// `Some(None)` when the slot is empty: its number is 0.
fn generation(from: &[u8], at: usize) -> Option<Option<Generation>> {
    let number = bytes::u32(from, at)?;
    if number == 0 {
        return Some(None);
    }
    let argument = from[at + 5];
    let phase = match from[at + 4] {
        1 => Phase::Trial { tries: argument },
        2 => Phase::Blessed,
        3 => Phase::Failed(Failure::from(argument)),
        _ => return None,
    };
    let revision = bytes::u64(from, at + 8)?;
    Some(Some(Generation { number, uki: uki(from, at + 16)??, phase, revision }))
}

fn put_generation(to: &mut [u8], at: usize, generation: &Generation) {
    bytes::put(to, at, &generation.number.to_le_bytes());
    let (phase, argument) = match generation.phase {
        Phase::Trial { tries } => (1, tries),
        Phase::Blessed => (2, 0),
        Phase::Failed(failure) => (3, failure.code()),
    };
    to[at + 4] = phase;
    to[at + 5] = argument;
    bytes::put(to, at + 8, &generation.revision.to_le_bytes());
    put_uki(to, at + 16, &generation.uki);
}
