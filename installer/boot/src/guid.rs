//! GUIDs as GPT stores them: the first three fields little-endian (UEFI 2.10, appendix A).

use core::fmt;

/// A GUID in its on-disk byte order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

/// Where each byte of the text form lies on disk.
const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl Guid {
    /// All zero: an unused partition entry.
    pub const ZERO: Self = Self([0; 16]);

    /// Reads `01234567-89ab-cdef-0123-456789abcdef` (any case); `None` when it is not exactly that.
    #[must_use]
    pub const fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 36 {
            return None;
        }
        let mut disk = [0; 16];
        let (mut at, mut byte) = (0, 0);
        while at < 36 {
            if matches!(at, 8 | 13 | 18 | 23) {
                if text[at] != b'-' {
                    return None;
                }
                at += 1;
                continue;
            }
            let (Some(high), Some(low)) = (nibble(text[at]), nibble(text[at + 1])) else { return None };
            disk[ORDER[byte]] = high << 4 | low;
            at += 2;
            byte += 1;
        }
        Some(Self(disk))
    }

    /// For constants: a text that is not a GUID stops the build.
    const fn known(text: &str) -> Self {
        match Self::parse(text) {
            Some(guid) => guid,
            None => panic!("not a GUID"),
        }
    }

    /// A GUID made of 16 random or hashed bytes: version 8 (RFC 9562, "custom"), the RFC's variant.
    #[must_use]
    pub const fn custom(mut bytes: [u8; 16]) -> Self {
        bytes[7] = bytes[7] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

pub(crate) const fn known(text: &str) -> Guid {
    Guid::known(text)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (byte, &place) in ORDER.iter().enumerate() {
            if matches!(byte, 4 | 6 | 8 | 10) {
                to.write_str("-")?;
            }
            write!(to, "{:02x}", self.0[place])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_disk_order() {
        let esp = Guid::parse("C12A7328-F81F-11D2-BA4B-00A0C93EC93B").unwrap();
        assert_eq!(esp.0[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
        assert_eq!(esp.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        for wrong in ["", "C12A7328-F81F-11D2-BA4B-00A0C93EC93", "C12A7328+F81F-11D2-BA4B-00A0C93EC93B"] {
            assert_eq!(Guid::parse(wrong), None);
        }
    }

    #[test]
    fn custom_shows_version_and_variant() {
        let text = Guid::custom([0xff; 16]).to_string();
        assert_eq!(&text[14..15], "8");
        assert_eq!(&text[19..20], "b");
    }

    fuzz::targets! {
        guid: |bytes| {
            let Some(guid) = str::from_utf8(bytes).ok().and_then(Guid::parse) else { return };
            assert_eq!(Guid::parse(&guid.to_string()), Some(guid));
        },
    }
}
