//! Words with units as people write them: `64MiB`, `20s`, `200ms..30s`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! text {
    ($type:ident, $parse:expr, $example:literal) => {
        impl TryFrom<String> for $type {
            type Error = &'static str;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                $parse(&text).ok_or(concat!("invalid, expected something like ", $example))
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}

/// An amount of memory: a number with `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("title" = "amount of memory", "pattern" = "^[0-9]+[KMG]iB$"))]
pub struct Bytes(pub u64);

/// A length of time: a number with `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("title" = "length of time", "pattern" = "^[0-9]+(ms|s|m|h)$"))]
pub struct Span(pub Duration);

/// From one length of time to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Range {
    /// The shorter.
    pub from: Duration,
    /// The longer.
    pub to: Duration,
}

pub(crate) use text;

text!(Bytes, bytes, "64MiB");
text!(Span, span, "20s or 200ms");
text!(Range, range, "200ms..30s");

const BYTES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const MILLISECONDS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

fn bytes(text: &str) -> Option<Bytes> {
    let (number, factor) = BYTES.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    digits(number)?.checked_mul(*factor).map(Bytes)
}

fn span(text: &str) -> Option<Span> {
    let (number, factor) = MILLISECONDS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    digits(number)?.checked_mul(*factor).map(Duration::from_millis).map(Span)
}

fn range(text: &str) -> Option<Range> {
    let (from, to) = text.split_once("..")?;
    let range = Range { from: span(from)?.0, to: span(to)?.0 };
    (range.from <= range.to).then_some(range)
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, factor) = BYTES.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)).unwrap_or(&BYTES[2]);
        write!(f, "{}{unit}", self.0.div_ceil(*factor))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.0.as_millis();
        let (unit, factor) = MILLISECONDS
            .iter()
            .rev()
            .find(|(_, factor)| ms >= 1 && ms.is_multiple_of(u128::from(*factor)))
            .unwrap_or(&MILLISECONDS[0]);
        write!(f, "{}{unit}", ms / u128::from(*factor))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", Span(self.from), Span(self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for text in ["64MiB", "1GiB", "3KiB"] {
            assert_eq!(bytes(text).unwrap().to_string(), text);
        }
        for text in ["20s", "200ms", "5m", "1h", "0ms"] {
            assert_eq!(span(text).unwrap().to_string(), text);
        }
        assert_eq!(range("200ms..30s").unwrap().to_string(), "200ms..30s");
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "64", "64MB", "-1MiB", "1.5GiB", "99999999999999999999GiB", "MiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
        for text in ["", "s", "1", "1 s", "+1s", "1d"] {
            assert_eq!(span(text), None, "{text}");
        }
        assert_eq!(range("30s..200ms"), None);
    }
}
