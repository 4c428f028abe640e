//! A record of the audit log as it lies on a node's disk and travels to clients: who called what, and what came of it.
//!
//! ```text
//!   0  magic "STLAUD", version 1, zero      64  SHA-256 of the client's certificate; zeros: none
//!   8  sequence, from 1                     96  SHA-256 of the request as it came
//!  16  milliseconds since 1970             128  bytes of the request
//!  24  calls that this record stands for   136  flags: 1 rescue, 2 a change
//!  28  gRPC code                           137  length of each text: role, subject, address, method
//!  32  SHA-256 of the record before        144  the texts, then zeros
//!                                          480  SHA-256 of everything before
//! ```
//! Numbers are little endian. Invariant: one reading of each record (what parses formats to the same bytes), and each holds the
//! hash of the one before, so that whoever keeps a head knows whether anything before it was changed. The first record's
//! predecessor is zeros. Written by machined, verified by `apictl`.

use sha2::{Digest, Sha256};

/// Bytes of a record.
pub const SIZE: usize = 512;

const MAGIC: [u8; 8] = *b"STLAUD\x01\x00";
const TEXTS: usize = 144;
const HASH: usize = 480;
/// Bytes of the texts: role, subject, address, method. Their sum fits.
const LONGEST: [usize; 4] = [32, 160, 48, 96];

/// A SHA-256.
pub type Hash = [u8; 32];

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its number; each is one more than the one before.
    pub sequence: u64,
    /// Milliseconds since 1970, by the node's clock.
    pub time_unix_ms: u64,
    /// Equal calls of the same client within some seconds that it stands for; at least 1.
    pub calls: u32,
    /// The gRPC code: 0 is success.
    pub code: u32,
    /// Hash of the record before.
    pub previous: Hash,
    /// Of the client's certificate; zeros without one.
    pub fingerprint: Hash,
    /// SHA-256 of the request's bytes as they came (frames and all); of several calls, of the first.
    pub digest: Hash,
    /// How many bytes that were.
    pub request_bytes: u64,
    /// The client was let in by the rescue authority.
    pub rescue: bool,
    /// The call changes something: durable before it was answered.
    pub change: bool,
    /// Organizations of the certificate, with commas; "" for a stranger.
    pub role: String,
    /// The certificate's subject; "" for a stranger.
    pub subject: String,
    /// Where the client connected from.
    pub address: String,
    /// The method's path, and behind it what the request allows that is refused otherwise (`--allow-downgrade`); in parentheses
    /// what is none.
    pub method: String,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not as long as a record.
    #[error("{0} bytes are no record; one has {SIZE}")]
    Size(usize),
    /// Nothing was ever written there, or it is of another release.
    #[error("it does not begin like a record of this version")]
    Magic,
    /// It was changed, or only half of it was written.
    #[error("its hash is not that of its bytes")]
    Hash,
    /// A hash of something that no writer would have written.
    #[error("its field `{0}` is not valid")]
    Field(&'static str),
}

/// Where a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Bytes that are no record.
    #[error("record {sequence} cannot be read: {why}")]
    Unreadable {
        /// Which was expected.
        sequence: u64,
        /// Why not.
        why: Error,
    },
    /// Some are not there.
    #[error("after record {after} comes record {found}: what was between them is missing")]
    Missing {
        /// The last good one.
        after: u64,
        /// The next that is there.
        found: u64,
    },
    /// One was changed after the next was written.
    #[error("record {0} does not follow the one before it: one of them was changed")]
    Changed(u64),
    /// The head that was kept elsewhere is another one.
    #[error("record {0} is not the one that was kept as head: the log was changed")]
    Head(u64),
}

impl Record {
    /// The bytes, and their hash. Texts that are too long are cut, and control characters left out.
    pub fn format(&self) -> ([u8; SIZE], Hash) {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(8, &self.sequence.to_le_bytes());
        put(16, &self.time_unix_ms.to_le_bytes());
        put(24, &self.calls.max(1).to_le_bytes());
        put(28, &self.code.to_le_bytes());
        put(32, &self.previous);
        put(64, &self.fingerprint);
        put(96, &self.digest);
        put(128, &self.request_bytes.to_le_bytes());
        put(136, &[u8::from(self.rescue) | u8::from(self.change) << 1]);
        let mut at = TEXTS;
        for (n, text) in [&self.role, &self.subject, &self.address, &self.method].into_iter().enumerate() {
            let text = cut(text, LONGEST[n]);
            // At most 160.
            put(137 + n, &[u8::try_from(text.len()).unwrap_or(0)]);
            put(at, text.as_bytes());
            at += text.len();
        }
        let hash: Hash = Sha256::digest(&bytes[..HASH]).into();
        bytes[HASH..].copy_from_slice(&hash);
        (bytes, hash)
    }

    /// Reads one; strict.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Hash), Error> {
        let whole: &[u8; SIZE] = bytes.try_into().map_err(|_| Error::Size(bytes.len()))?;
        if !whole.starts_with(&MAGIC) {
            return Err(Error::Magic);
        }
        let hash: Hash = Sha256::digest(&whole[..HASH]).into();
        if hash != whole[HASH..] {
            return Err(Error::Hash);
        }
        fn part<const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
            let mut part = [0; N];
            part.copy_from_slice(&bytes[at..at + N]);
            part
        }
        let flags = whole[136];
        if flags > 3 {
            return Err(Error::Field("flags"));
        }
        let mut at = TEXTS;
        let mut texts = [const { String::new() }; 4];
        for (n, text) in texts.iter_mut().enumerate() {
            let length = usize::from(whole[137 + n]);
            if length > LONGEST[n] {
                return Err(Error::Field("length"));
            }
            let read = std::str::from_utf8(&whole[at..at + length]).map_err(|_| Error::Field("text"))?;
            if read.chars().any(char::is_control) {
                return Err(Error::Field("text"));
            }
            read.clone_into(text);
            at += length;
        }
        if whole[141..TEXTS].iter().chain(&whole[at..HASH]).any(|byte| *byte != 0) {
            return Err(Error::Field("padding"));
        }
        let [role, subject, address, method] = texts;
        let record = Self {
            sequence: u64::from_le_bytes(part(whole, 8)),
            time_unix_ms: u64::from_le_bytes(part(whole, 16)),
            calls: u32::from_le_bytes(part(whole, 24)),
            code: u32::from_le_bytes(part(whole, 28)),
            previous: part(whole, 32),
            fingerprint: part(whole, 64),
            digest: part(whole, 96),
            request_bytes: u64::from_le_bytes(part(whole, 128)),
            rescue: flags & 1 != 0,
            change: flags & 2 != 0,
            role,
            subject,
            address,
            method,
        };
        if record.calls == 0 {
            return Err(Error::Field("calls"));
        }
        if record.sequence == 0 {
            return Err(Error::Field("sequence"));
        }
        Ok((record, hash))
    }
}

/// Without control characters, at most so many bytes.
fn cut(text: &str, most: usize) -> String {
    let mut short = String::new();
    for char in text.chars().filter(|char| !char.is_control()) {
        if short.len() + char.len_utf8() > most {
            break;
        }
        short.push(char);
    }
    short
}

/// The newest record of a log: kept elsewhere, it vouches for all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0: nothing was ever written.
    pub sequence: u64,
    /// Its hash; zeros then.
    pub hash: Hash,
}

/// Follows a chain record by record.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    head: Option<Head>,
    /// A head that must be met on the way.
    kept: Option<Head>,
    met: bool,
}

impl Chain {
    /// From wherever the first record is; `kept` is a head that was noted before.
    pub fn new(kept: Option<Head>) -> Self {
        Self { head: None, kept, met: false }
    }

    /// The next record; what is wrong with it, or with the chain. After an error the chain goes on from it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Record, Broken> {
        let before = self.head;
        let expected = before.map_or(0, |head| head.sequence) + 1;
        let (record, hash) = Record::parse(bytes).map_err(|why| Broken::Unreadable { sequence: expected, why })?;
        let sequence = record.sequence;
        self.head = Some(Head { sequence, hash });
        // Or the one right after it, which holds its hash, when it was the last that was overwritten.
        self.met |= self.kept.is_some_and(|kept| {
            kept == Head { sequence, hash }
                || Some(sequence) == kept.sequence.checked_add(1) && record.previous == kept.hash
        });
        match before {
            Some(before) if sequence != expected => {
                return Err(Broken::Missing { after: before.sequence, found: sequence });
            }
            Some(before) if record.previous != before.hash => return Err(Broken::Changed(sequence)),
            // The very first has no predecessor.
            None if sequence == 1 && record.previous != [0; 32] => return Err(Broken::Changed(sequence)),
            _ => {}
        }
        match self.kept {
            Some(kept) if kept.sequence == sequence && kept.hash != hash => Err(Broken::Head(sequence)),
            _ => Ok(record),
        }
    }

    /// The last record.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// Whether the head that was kept is in it. A chain that begins after that head follows from nothing that is known.
    pub fn met(&self) -> bool {
        self.met
    }
}

#[cfg(test)]
mod tests;
