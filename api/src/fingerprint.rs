//! The SHA-256 of a certificate's DER bytes: what a node shows on its console and a client pins.
//!
//! Invariant: shown as 64 lower-case hex digits; read in every form that is in use (colons, spaces, upper case, the
//! `sha256:` and `SHA256 Fingerprint=` of other tools).

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// What was given is no SHA-256 fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Something that is neither a hex digit nor a separator.
    #[error("{0:?} is not a hex digit; a fingerprint is 64 hex digits, colons allowed")]
    Digit(char),
    /// Too few or too many digits.
    #[error("has {0} hex digits; a SHA-256 fingerprint has 64")]
    Length(usize),
}

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of_der(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The digest itself.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl FromStr for Fingerprint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        // `openssl x509 -fingerprint -sha256` prints `sha256 Fingerprint=AA:BB…`; others write `sha256:aabb…`.
        let lower = text.to_ascii_lowercase();
        let digits = ["sha256 fingerprint=", "sha256:"].iter().find_map(|p| lower.strip_prefix(p)).unwrap_or(&lower);
        let mut nibbles = Vec::with_capacity(64);
        for char in digits.chars() {
            match char.to_digit(16) {
                Some(digit) => nibbles.push(u8::try_from(digit).unwrap_or_default()),
                None if matches!(char, ':' | '-' | ' ') => {}
                None => return Err(ParseError::Digit(char)),
            }
        }
        if nibbles.len() != 64 {
            return Err(ParseError::Length(nibbles.len()));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(nibbles.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_written_form_is_the_same_fingerprint() {
        let colons = EMPTY.as_bytes().chunks(2).map(|b| std::str::from_utf8(b).unwrap()).collect::<Vec<_>>().join(":");
        for form in [
            EMPTY.to_owned(),
            EMPTY.to_uppercase(),
            colons.clone(),
            format!(" {colons}\n"),
            format!("sha256:{EMPTY}"),
            format!("SHA256 Fingerprint={}", colons.to_uppercase()),
            colons.replace(':', " "),
        ] {
            assert_eq!(form.parse::<Fingerprint>().unwrap(), Fingerprint::of_der(b""), "{form}");
        }
        assert_eq!(Fingerprint::of_der(b"").to_string(), EMPTY);
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!("".parse::<Fingerprint>(), Err(ParseError::Length(0)));
        assert_eq!(EMPTY[1..].parse::<Fingerprint>(), Err(ParseError::Length(63)));
        assert_eq!(format!("{EMPTY}0").parse::<Fingerprint>(), Err(ParseError::Length(65)));
        assert_eq!(EMPTY.replace('e', "ß").parse::<Fingerprint>(), Err(ParseError::Digit('ß')));
    }

    fuzz::targets! {
        fingerprint: |bytes| {
            let Ok(fingerprint) = String::from_utf8_lossy(bytes).parse::<Fingerprint>() else { return };
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        },
    }
}
