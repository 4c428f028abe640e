//! Which UKI is meant: by its content. Its file on the ESP is named after it, so a name is also a promise that can be checked.

use core::fmt;

/// The folder of the UKIs on the ESP, as Boot Loader Specification entries write it.
pub const FOLDER: &str = "/EFI/stele/";
/// What their names end with.
pub const SUFFIX: &str = ".efi";
/// Longest path of a UKI.
pub const PATH_LEN: usize = FOLDER.len() + 64 + SUFFIX.len();

/// SHA-256 (FIPS 180-4) of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads 64 lower-case hex digits; `None` when it is not exactly that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(digest))
    }

    /// The UKI's path on the ESP: `/EFI/stele/<digest>.efi`.
    #[must_use]
    pub fn path(&self) -> Path {
        let mut path = [0; PATH_LEN];
        let (folder, rest) = path.split_at_mut(FOLDER.len());
        folder.copy_from_slice(FOLDER.as_bytes());
        let (name, suffix) = rest.split_at_mut(64);
        for (pair, byte) in name.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 0xf)];
        }
        suffix.copy_from_slice(SUFFIX.as_bytes());
        Path(path)
    }

    /// The digest that a path promises; `None` when it is no path of ours.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        Self::parse(path.strip_prefix(FOLDER)?.strip_suffix(SUFFIX)?)
    }
}

/// A path in ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path([u8; PATH_LEN]);

impl Path {
    /// As text, with `/` between the parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever put in.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.as_str().strip_prefix(FOLDER).unwrap_or_default()
    }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

impl fmt::Display for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.path().name().strip_suffix(SUFFIX).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

/// A UKI: its content and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uki {
    /// SHA-256 of all of it.
    pub digest: Digest,
    /// Bytes; never 0.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_content() {
        let digest = Digest([0xab; 32]);
        let path = digest.path();
        assert_eq!(path.as_str(), format!("/EFI/stele/{}.efi", "ab".repeat(32)));
        assert_eq!(Digest::of_path(path.as_str()), Some(digest));
        assert_eq!(digest.to_string(), "ab".repeat(32));
        for wrong in ["", "/EFI/stele/.efi", "/EFI/stele/ab.efi", "/EFI/Linux/x.efi", &"AB".repeat(32)] {
            assert_eq!(Digest::of_path(wrong), None);
            assert_eq!(Digest::parse(wrong), None);
        }
    }
}
