//! Crash records that the kernel left in pstore: copied to /run and to the log that people read, then deleted, because their
//! room is small and a record that stays is shown after every boot.
//!
//! Invariant: bounded in number and size; of a long record the end is kept, where the crash is; a record is deleted only when
//! it was copied and logged, so one for which there is no room waits for the next boot. One that fails keeps no other from
//! being collected. The firmware's variables are no pstore here (efi_pstore is never loaded): what is left are ramoops and
//! ERST. Blocking.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// More records than this were never left by one crash.
const RECORDS_MAX: usize = 64;
/// Bytes of one record at most: the kernel writes 10 KiB of a panic, and consoles of a megabyte.
const RECORD_MAX: u64 = 256 * 1024;
/// Bytes of all copies.
const TOTAL_MAX: u64 = 2 * 1024 * 1024;

/// What the kernel says when it gives up, and not when it goes on.
pub(super) const PANIC: &str = "Kernel panic";
/// The log with all records, for readers of logs.
pub(super) const LOG: &str = "pstore";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// The copies there are now, by name.
    pub(super) names: Vec<String>,
    /// Why records were left where they are; another try may take them.
    pub(super) failed: Option<io::Error>,
}

/// Collects everything in `from` into `into`; `log` is given the text of each.
pub(super) fn collect(from: &Path, into: &Path, mut log: impl FnMut(&[u8]) -> io::Result<()>) -> Collected {
    let mut failed = None;
    for name in names(from) {
        if let Err(error) = take(&name, from, into, &mut log) {
            failed.get_or_insert(error);
        }
    }
    Collected { names: names(into), failed }
}

fn take(name: &str, from: &Path, into: &Path, log: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let (source, copy) = (from.join(name), into.join(name));
    let record = read(&source)?;
    // A try before this one may have failed to delete it.
    if fs::read(&copy).is_ok_and(|known| known == record) {
        return fs::remove_file(source);
    }
    fs::create_dir_all(into)?;
    let kept = names(into);
    let total: u64 = kept.iter().filter_map(|name| fs::metadata(into.join(name)).ok()).map(|m| m.len()).sum();
    if total + record.len() as u64 > TOTAL_MAX || kept.len() >= RECORDS_MAX {
        return Ok(());
    }
    log(&[format!("--- {name}\n").as_bytes(), &record, b"\n"].concat())?;
    fs::write(copy, &record)?;
    fs::remove_file(source)
}

/// The line of a panic, else that of an oops, of the records in `dir`.
pub(super) fn panic_line(dir: &Path) -> Option<String> {
    [PANIC, "Oops"].iter().find_map(|word| line(dir, word))
}

fn line(dir: &Path, word: &str) -> Option<String> {
    names(dir).iter().filter(|name| name.starts_with("dmesg")).find_map(|name| {
        let text = fs::read(dir.join(name)).ok()?;
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains(word))?;
        Some(line.trim().chars().take(200).collect())
    })
}

/// The end of a record. A pstore does not always know a record's size before it is read.
fn read(from: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(from)?;
    let mut bytes = Vec::new();
    while file.by_ref().take(RECORD_MAX).read_to_end(&mut bytes)? > 0 {
        let before = bytes.len().saturating_sub(usize::try_from(RECORD_MAX).unwrap_or(usize::MAX));
        bytes.drain(..before);
    }
    Ok(bytes)
}

/// In order; a folder that is not there holds none.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut names: Vec<_> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(_: &[u8]) -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn records_are_moved_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("pstore"), dir.path().join("kept"));
        assert!(collect(&from, &into, silent).names.is_empty());
        fs::create_dir(&from).unwrap();
        let text = "Panic#1 Part1\n<0>[   10.5] Kernel panic - not syncing: sysrq\n<4>x\n";
        fs::write(from.join("dmesg-ramoops-0"), text).unwrap();
        let full = |_: &[u8]| Err(io::ErrorKind::StorageFull.into());
        assert!(collect(&from, &into, full).failed.is_some());
        assert!(from.join("dmesg-ramoops-0").exists(), "not readable by anybody yet");
        for number in 0..100 {
            fs::write(from.join(format!("x{number:03}")), vec![0; 300 * 1024]).unwrap();
        }
        let mut log = Vec::new();
        let append = |text: &[u8]| {
            log.extend_from_slice(text);
            Ok(())
        };
        let Collected { names: kept, failed } = collect(&from, &into, append);
        assert!(failed.is_none());
        assert!(log.starts_with(format!("--- dmesg-ramoops-0\n{text}").as_bytes()));
        assert!(kept.len() < 12 && kept[0] == "dmesg-ramoops-0", "{kept:?}");
        assert_eq!(fs::read_dir(&from).unwrap().count(), 101 - kept.len(), "deleted without a copy");
        assert_eq!(collect(&from, &into, |_| panic!("nothing is new")).names, kept);
        assert_eq!(panic_line(&into).unwrap(), "<0>[   10.5] Kernel panic - not syncing: sysrq");
    }

    #[test]
    fn the_end_of_a_long_record_is_kept_and_one_that_fails_stops_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("pstore"), dir.path().join("kept"));
        fs::create_dir(&from).unwrap();
        let text = [&vec![b'x'; 700 * 1024][..], b"\nKernel panic - not syncing: at the end\n"].concat();
        fs::write(from.join("dmesg-0"), &text).unwrap();
        fs::write(from.join("dmesg-1"), "refused").unwrap();
        fs::write(from.join("dmesg-2"), "Oops: 0002").unwrap();
        let refuse = |text: &[u8]| match text.ends_with(b"refused\n") {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        };
        let Collected { names, failed } = collect(&from, &into, refuse);
        assert_eq!(
            (names, failed.map(|e| e.kind())),
            (vec!["dmesg-0".into(), "dmesg-2".into()], Some(io::ErrorKind::StorageFull))
        );
        assert_eq!(fs::read(into.join("dmesg-0")).unwrap(), text[text.len() - 256 * 1024..]);
        assert_eq!(panic_line(&into).unwrap(), "Kernel panic - not syncing: at the end");
        assert_eq!(collect(&from, &into, silent).names.len(), 3);
        assert_eq!(fs::read_dir(&from).unwrap().count(), 0);
    }
}
