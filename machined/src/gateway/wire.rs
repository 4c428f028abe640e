//! The framing between machined and the gateway: magic, version, length, then length-prefixed fields. Big endian.
//!
//! Invariant: nothing is allocated for a length before it is checked against a limit, and a message that is not exactly
//! what it should be (unknown version, short, trailing bytes) is refused. Used by `preamble` and `keys`, on both sides.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes before the body: magic, version, length.
const HEADER: usize = 9;

/// What kind of message a frame holds, and how large it may be.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// First four bytes.
    pub magic: [u8; 4],
    /// Version of the body's layout; both programs come from one image, so any other is refused.
    pub version: u8,
    /// Largest body in bytes.
    pub limit: usize,
}

/// Why a message cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed, or ended inside a message.
    #[error("the socket failed")]
    Io(#[from] io::Error),
    /// Not this kind of message.
    #[error("a message that starts with {found:02x?} instead of {expected:02x?}")]
    Magic {
        /// What came.
        found: [u8; 4],
        /// What should have.
        expected: [u8; 4],
    },
    /// Another layout.
    #[error("version {found} of a message of which only version {expected} is known")]
    Version {
        /// What came.
        found: u8,
        /// What is known.
        expected: u8,
    },
    /// Larger than allowed.
    #[error("a message of {size} bytes; at most {limit} are allowed")]
    TooLong {
        /// Announced size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A field does not fit into what is left.
    #[error("the message ends inside the field `{0}`")]
    Short(&'static str),
    /// A field has a value that it must not have.
    #[error("the field `{0}` is not valid")]
    Invalid(&'static str),
    /// More bytes than fields.
    #[error("{0} bytes after the last field")]
    Trailing(usize),
}

/// Builds one frame.
#[derive(Debug)]
pub struct Encoder {
    kind: Kind,
    bytes: Vec<u8>,
}

impl Encoder {
    /// An empty message of `kind`.
    pub fn new(kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&kind.magic);
        bytes.push(kind.version);
        bytes.extend_from_slice(&[0; 4]);
        Self { kind, bytes }
    }

    /// A number: a count or a flag.
    pub fn number(&mut self, value: usize) {
        // Counts of things in memory that are bounded by `Kind::limit`; a larger one makes the frame too long anyway.
        self.bytes.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
    }

    /// A field of any bytes.
    pub fn field(&mut self, value: &[u8]) {
        self.number(value.len());
        self.bytes.extend_from_slice(value);
    }

    /// The finished frame.
    pub fn finish(mut self) -> Result<Vec<u8>, Error> {
        let size = self.bytes.len() - HEADER;
        if size > self.kind.limit {
            return Err(Error::TooLong { size, limit: self.kind.limit });
        }
        let length = u32::try_from(size).map_err(|_| Error::TooLong { size, limit: self.kind.limit })?;
        self.bytes[5..HEADER].copy_from_slice(&length.to_be_bytes());
        Ok(self.bytes)
    }
}

/// Reads one frame and returns its body. Not cancel-safe: a dropped read leaves the stream inside a message.
pub async fn read(kind: Kind, stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Error> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let [m0, m1, m2, m3, version, l0, l1, l2, l3] = header;
    let found = [m0, m1, m2, m3];
    if found != kind.magic {
        return Err(Error::Magic { found, expected: kind.magic });
    }
    if version != kind.version {
        return Err(Error::Version { found: version, expected: kind.version });
    }
    let size = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if size > kind.limit {
        return Err(Error::TooLong { size, limit: kind.limit });
    }
    let mut body = vec![0; size];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Takes fields from a body, in order.
#[derive(Debug)]
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// At the first field.
    pub fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// A number of at most `limit`.
    pub fn number(&mut self, name: &'static str, limit: usize) -> Result<usize, Error> {
        let (number, rest) = self.0.split_first_chunk::<4>().ok_or(Error::Short(name))?;
        self.0 = rest;
        let value = u32::from_be_bytes(*number) as usize;
        if value > limit { Err(Error::Invalid(name)) } else { Ok(value) }
    }

    /// A field of any bytes.
    pub fn field(&mut self, name: &'static str) -> Result<&'a [u8], Error> {
        let length = self.number(name, usize::MAX)?;
        let (field, rest) = self.0.split_at_checked(length).ok_or(Error::Short(name))?;
        self.0 = rest;
        Ok(field)
    }

    /// A field of printable text of at most `limit` bytes: it is going to be logged and compared.
    pub fn text(&mut self, name: &'static str, limit: usize) -> Result<&'a str, Error> {
        let text = str::from_utf8(self.field(name)?).map_err(|_| Error::Invalid(name))?;
        if text.len() > limit || text.chars().any(char::is_control) {
            return Err(Error::Invalid(name));
        }
        Ok(text)
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Trailing(self.0.len())) }
    }
}
