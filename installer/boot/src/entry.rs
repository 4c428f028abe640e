//! Boot entries on the ESP: Boot Loader Specification type 1 (UAPI group specification 1), one file for each generation that
//! is blessed and one for recovery. Pure.
//!
//! They say what may be started when the boot state cannot be read, so that nothing that is on trial has one; and what other
//! tools may start. Of an entry only its file name and its `efi` line count here.

use core::fmt;

use crate::uki::Digest;

/// Their folder on the ESP.
pub const FOLDER: &str = "/loader/entries/";
/// Longest file that is read.
pub const LEN_MAX: usize = 1024;
/// Highest number of a generation: eight digits in a file name.
pub const NUMBER_MAX: u32 = 99_999_999;

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// A generation; numbers begin at 1 and only rise.
    Generation(u32),
    /// The recovery system.
    Recovery,
}

impl Which {
    /// From the name of an entry's file, `stele-00000042.conf` or `stele-recovery.conf`; any case, since FAT has none.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        let (middle, end) = name.get(6..)?.split_at_checked(8)?;
        if !name.get(..6)?.eq_ignore_ascii_case("stele-") || !end.eq_ignore_ascii_case(".conf") {
            return None;
        }
        if middle.eq_ignore_ascii_case("recovery") {
            return Some(Self::Recovery);
        }
        if !middle.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        middle.parse().ok().filter(|number| *number > 0).map(Self::Generation)
    }
}

/// The name of its entry's file.
impl fmt::Display for Which {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation(number) => write!(to, "stele-{number:08}.conf"),
            Self::Recovery => to.write_str("stele-recovery.conf"),
        }
    }
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it starts.
    pub which: Which,
    /// The UKI that its path promises.
    pub digest: Digest,
}

impl Entry {
    /// Reads an entry; `None` when it is none of ours, or damaged: one `efi` line with a path of ours, nothing after its end.
    #[must_use]
    pub fn parse(name: &str, bytes: &[u8]) -> Option<Self> {
        let which = Which::of_file(name)?;
        let text = str::from_utf8(bytes.get(..bytes.len().min(LEN_MAX + 1))?).ok()?;
        if text.len() > LEN_MAX || !text.ends_with('\n') {
            return None;
        }
        let mut paths = text.lines().filter_map(|line| line.trim_start().strip_prefix("efi")).filter_map(|rest| {
            let path = rest.trim();
            rest.starts_with([' ', '\t']).then_some(path)
        });
        let digest = Digest::of_path(paths.next()?)?;
        paths.next().is_none().then_some(Self { which, digest })
    }
}

/// The text of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What it starts.
    pub which: Which,
    /// With which UKI.
    pub digest: Digest,
    /// Version of Stele in it; one line.
    pub version: &'a str,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.lines().next().unwrap_or_default();
        let (title, key) = match self.which {
            Which::Generation(_) => ("Stele", "stele"),
            Which::Recovery => ("Stele recovery", "stele-recovery"),
        };
        let path = self.digest.path();
        write!(to, "title {title} {version}\nversion {version}\nsort-key {key}\nefi {}\n", path.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: Digest = Digest([0x5a; 32]);

    #[test]
    fn entries_that_are_no_entries() {
        let good = Text { which: Which::Generation(7), digest: DIGEST, version: "1" }.to_string();
        let name = "stele-00000007.conf";
        assert_eq!(Entry::parse(name, good.as_bytes()), Some(Entry { which: Which::Generation(7), digest: DIGEST }));
        assert_eq!(Entry::parse("STELE-00000007.CONF", good.as_bytes()).map(|e| e.which), Some(Which::Generation(7)));
        for cut in 0..good.len() {
            assert_eq!(Entry::parse(name, &good.as_bytes()[..cut]), None, "{cut}");
        }
        let twice = format!("{good}efi /EFI/x.efi\n");
        let foreign = "title x\nefi /EFI/BOOT/BOOTX64.EFI\n".to_owned();
        let long = format!("{good}#{}\n", "x".repeat(LEN_MAX));
        for text in [&twice, &foreign, &long, &String::new()] {
            assert_eq!(Entry::parse(name, text.as_bytes()), None);
        }
        for name in ["stele-7.conf", "stele-00000000.conf", "stele-0000000x.conf", "stele-+0000007.conf", "other.conf"]
        {
            assert_eq!(Entry::parse(name, good.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 1..=NUMBER_MAX, recovery: bool, digest: [u8; 32], version in "[ -~]{0,40}") {
            let which = if recovery { Which::Recovery } else { Which::Generation(number) };
            let entry = Entry { which, digest: Digest(digest) };
            let text = Text { which, digest: entry.digest, version: &version }.to_string();
            prop_assert_eq!(Entry::parse(&which.to_string(), text.as_bytes()), Some(entry));
        }
    }

    fuzz::targets! {
        entry: |bytes| {
            if let Some(entry) = Entry::parse("stele-00000042.conf", bytes) {
                let text = Text { which: entry.which, digest: entry.digest, version: "1" }.to_string();
                assert_eq!(Entry::parse(&entry.which.to_string(), text.as_bytes()), Some(entry));
            }
            let _ = str::from_utf8(bytes).map(Which::of_file);
        },
    }
}
