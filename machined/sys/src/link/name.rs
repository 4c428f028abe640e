//! Names of kept descriptors: at most 63 bytes of `[a-z0-9.:/_-]`, so a frame can hold one whole and a log line can show it.

use std::fmt;

const MAX: usize = 63;

/// A checked name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    bytes: [u8; MAX],
    len: u8,
}

/// Why a text is no [`Name`].
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Empty or too long.
    #[error("a descriptor's name has 1 to {MAX} bytes, this has {0}")]
    Length(usize),
    /// A byte out of the allowed set.
    #[error("a descriptor's name is of a-z 0-9 . : / _ -, not byte {0:#04x}")]
    Byte(u8),
}

impl Name {
    /// Checks length and bytes.
    pub fn new(text: &str) -> Result<Self, NameError> {
        Self::from_bytes(text.as_bytes())
    }

    /// Checks length and bytes.
    pub fn from_bytes(text: &[u8]) -> Result<Self, NameError> {
        let len = match u8::try_from(text.len()) {
            Ok(len @ 1..) if text.len() <= MAX => len,
            _ => return Err(NameError::Length(text.len())),
        };
        if let Some(bad) =
            text.iter().find(|b| !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b':' | b'/' | b'_' | b'-'))
        {
            return Err(NameError::Byte(*bad));
        }
        let mut bytes = [0; MAX];
        bytes[..text.len()].copy_from_slice(text);
        Ok(Self { bytes, len })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // `from_bytes` lets only ASCII in.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("?")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
