//! Which modules drive a device: modules.alias, searched by the literal beginning of its patterns. Pure.
//!
//! A device costs one look-up for each length that a literal beginning has in the file, however many patterns there are;
//! only the few patterns whose beginning fits are matched as globs.

use std::collections::{BTreeSet, HashMap};

/// The patterns of modules.alias.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    text: String,
    /// By literal beginning: ranges in `text` of the pattern's rest and of the module's name.
    by_start: HashMap<Box<str>, Vec<(Span, Span)>>,
    lengths: BTreeSet<usize>,
}

type Span = std::ops::Range<u32>;

impl Aliases {
    /// Reads `alias PATTERN MODULE` lines; others are skipped.
    pub(super) fn parse(text: String) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let literal = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
            let (Some(rest), Some(name)) = (span(&text, &pattern[literal..]), span(&text, module)) else { continue };
            found.by_start.entry(pattern[..literal].into()).or_default().push((rest, name));
            found.lengths.insert(literal);
        }
        Self { text, ..found }
    }

    /// The modules for a device, in the order of the file, each once.
    pub(super) fn matching(&self, modalias: &str) -> Vec<&str> {
        let mut found: Vec<(u32, &str)> = Vec::new();
        for &length in self.lengths.range(..=modalias.len()) {
            let Some((start, rest)) = modalias.split_at_checked(length) else { continue };
            for (pattern, name) in self.by_start.get(start).into_iter().flatten() {
                if glob(self.at(pattern).as_bytes(), rest.as_bytes()) {
                    found.push((name.start, self.at(name)));
                }
            }
        }
        found.sort_unstable();
        let mut names: Vec<&str> = Vec::new();
        for (_, name) in found {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn at(&self, span: &Span) -> &str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

/// Where `part`, a slice of `text`, lies in it; none past 4 GiB.
fn span(text: &str, part: &str) -> Option<Span> {
    let start = u32::try_from(part.as_ptr().addr() - text.as_ptr().addr()).ok()?;
    Some(start..start.checked_add(u32::try_from(part.len()).ok()?)?)
}

/// fnmatch(3) without flags: `*`, `?`, `[a-z]`, `[!a]`, `\x`. Linear in practice: only the last `*` is tried again.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() || p < pattern.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t + 1));
                p += 1;
                continue;
            }
            Some(_) if t < text.len() => one(&pattern[p..], text[t]),
            _ => None,
        };
        match (step, retry) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after, next))) if next <= text.len() => {
                (p, t) = (after, next);
                retry = Some((after, next + 1));
            }
            _ => return false,
        }
    }
    true
}

/// How many bytes of the pattern's beginning match this one byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => {
            let negated = matches!(rest, [b'!' | b'^', ..]);
            let set = &rest[usize::from(negated)..];
            // A ']' in the first place is a member.
            let end = 1 + set.get(1..)?.iter().position(|b| *b == b']')?;
            (member(&set[..end], byte) != negated).then_some(2 + usize::from(negated) + end)
        }
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

fn member(mut set: &[u8], byte: u8) -> bool {
    loop {
        match set {
            [low, b'-', high, rest @ ..] => {
                if (*low..=*high).contains(&byte) {
                    return true;
                }
                set = rest;
            }
            [single, rest @ ..] => {
                if *single == byte {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a*b*c", "axbybc", true),
            ("v?d", "v1d", true),
            ("v?d", "vd", false),
            ("[0-9A-F]x", "Bx", true),
            ("[0-9A-F]x", "Gx", false),
            ("[!a]x", "bx", true),
            ("[!a]x", "ax", false),
            ("[]a]", "]", true),
            ("[a", "a", false),
            (r"\*", "*", true),
            ("*a", "aaab", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn finds_modules_by_modalias() {
        let aliases = Aliases::parse(
            "# comment\nalias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\nalias virtio:d00000001v* virtio_net\n\
             alias acpi*:PNP0C0C:* button\nalias input:b*v*p*e*-e*1,*k*r* evdev\nalias acpi*:PNP0C0C:* button\n\
             alias fs-vfat vfat\nalias pci:v*d*sv*sd*bc01sc06i01* ahci\nnonsense\n"
                .into(),
        );
        assert_eq!(aliases.matching("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(aliases.matching("acpi:PNP0C0C:"), ["button"]);
        assert_eq!(aliases.matching("fs-vfat"), ["vfat"]);
        let both = "pci:v00001AF4d00001000sv00001AF4sd00000001bc01sc06i01";
        assert_eq!(aliases.matching(both), ["virtio_pci", "ahci"]);
        assert!(aliases.matching("usb:v1d6Bp0002").is_empty());
        assert!(aliases.matching("päci:ü").is_empty());
    }

    proptest! {
        /// The index finds what a scan of all patterns finds.
        #[test]
        fn the_index_loses_nothing(patterns in proptest::collection::vec("[ab*?]{1,6}", 0..12), text in "[ab]{0,8}") {
            let file: String = patterns.iter().enumerate().map(|(n, p)| format!("alias {p} m{n}\n")).collect();
            let scan: Vec<String> = patterns.iter().enumerate()
                .filter(|(_, p)| glob(p.as_bytes(), text.as_bytes())).map(|(n, _)| format!("m{n}")).collect();
            let index = Aliases::parse(file);
            prop_assert_eq!(index.matching(&text), scan);
        }

        #[test]
        fn no_pattern_panics(pattern: Vec<u8>, text: Vec<u8>) {
            glob(&pattern, &text);
        }
    }
}
