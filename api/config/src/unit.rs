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

/// An amount of memory: a number with `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("title" = "amount of memory", "pattern" = "^[0-9]+[KMGT]iB$"))]
pub struct Bytes(pub u64);

/// From one size to another, each of which may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("title" = "sizes", "pattern" = r"^([0-9]+[KMGT]iB)?\.\.([0-9]+[KMGT]iB)?$"))]
pub struct Sizes {
    /// The smallest.
    pub from: Option<Bytes>,
    /// The largest.
    pub to: Option<Bytes>,
}

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
text!(Sizes, sizes, "64GiB..2TiB, 64GiB.. or ..2TiB");
text!(Range, range, "200ms..30s");

const BYTES: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const MILLISECONDS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

fn bytes(text: &str) -> Option<Bytes> {
    let (number, factor) = BYTES.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    digits(number)?.checked_mul(*factor).map(Bytes)
}

fn sizes(text: &str) -> Option<Sizes> {
    let end = |text: &str| if text.is_empty() { Some(None) } else { bytes(text).map(Some) };
    let (from, to) = text.split_once("..")?;
    let sizes = Sizes { from: end(from)?, to: end(to)? };
    let (least, most) = (sizes.from.map_or(0, |b| b.0), sizes.to.map_or(u64::MAX, |b| b.0));
    (least <= most && (least, most) != (0, u64::MAX)).then_some(sizes)
}

impl Sizes {
    /// Whether this many bytes lie between the two.
    pub fn holds(&self, size: u64) -> bool {
        self.from.is_none_or(|from| from.0 <= size) && self.to.is_none_or(|to| size <= to.0)
    }
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
        let (unit, factor) = BYTES.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)).unwrap_or(&BYTES[3]);
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

impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = |end: Option<Bytes>| end.map(|end| end.to_string()).unwrap_or_default();
        write!(f, "{}..{}", end(self.from), end(self.to))
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
        for text in ["64MiB", "1GiB", "3KiB", "2TiB"] {
            assert_eq!(bytes(text).unwrap().to_string(), text);
        }
        for text in ["20s", "200ms", "5m", "1h", "0ms"] {
            assert_eq!(span(text).unwrap().to_string(), text);
        }
        for text in ["64GiB..2TiB", "64GiB..", "..1TiB", "8GiB..8GiB"] {
            assert_eq!(sizes(text).unwrap().to_string(), text);
        }
        let some = sizes("64GiB..1TiB").unwrap();
        assert_eq!(
            [64 << 30, (64 << 30) - 1, 1 << 40, (1 << 40) + 1].map(|size| some.holds(size)),
            [true, false, true, false]
        );
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
        for text in ["..", "", "64GiB", "2TiB..1TiB", "a..b", "0KiB.."] {
            assert_eq!(sizes(text), None, "{text}");
        }
        assert_eq!(range("30s..200ms"), None);
    }
}
