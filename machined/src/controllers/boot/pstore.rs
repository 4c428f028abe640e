//! Crash records that the kernel left in pstore: copied to /run and to the log that people read, then deleted, because their
//! room is small and a record that stays is shown after every boot.
//!
//! Invariant: bounded in number and size; a record is deleted only when its copy is complete. The firmware's variables are
//! no pstore here (efi_pstore is never loaded): what is left are ramoops and ERST. Blocking.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// More records than this were never left by one crash.
const RECORDS_MAX: usize = 64;
/// Bytes of one record at most: the kernel writes 10 KiB of a panic, and consoles of a megabyte.
const RECORD_MAX: u64 = 256 * 1024;
/// Bytes of all copies.
const TOTAL_MAX: u64 = 2 * 1024 * 1024;

/// The log with all records, for readers of logs.
pub(super) const LOG: &str = "pstore";

/// What is kept in `into`, by name, after everything in `from` was collected; `log` is given the text of each.
pub(super) fn collect(
    from: &Path,
    into: &Path,
    mut log: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let new = names(from);
    if !new.is_empty() {
        fs::create_dir_all(into)?;
    }
    let mut total: u64 =
        names(into).iter().filter_map(|name| fs::metadata(into.join(name)).ok()).map(|m| m.len()).sum();
    for name in new {
        if total < TOTAL_MAX && names(into).len() < RECORDS_MAX {
            let record = read(&from.join(&name))?;
            fs::write(into.join(&name), &record)?;
            log(&[format!("--- {name}\n").as_bytes(), &record, b"\n"].concat())?;
            total += record.len() as u64;
        }
        fs::remove_file(from.join(&name))?;
    }
    Ok(names(into))
}

/// The line of a panic, of the records in `dir`.
pub(super) fn panic_line(dir: &Path) -> Option<String> {
    names(dir).iter().filter(|name| name.starts_with("dmesg")).find_map(|name| {
        let text = fs::read(dir.join(name)).ok()?;
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains("Kernel panic") || line.contains("Oops"))?;
        Some(line.trim().chars().take(200).collect())
    })
}

fn read(from: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(from)?.take(RECORD_MAX).read_to_end(&mut bytes)?;
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

    #[test]
    fn records_are_moved_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("pstore"), dir.path().join("kept"));
        assert!(collect(&from, &into, |_| Ok(())).unwrap().is_empty());
        fs::create_dir(&from).unwrap();
        let text = "Panic#1 Part1\n<0>[   10.5] Kernel panic - not syncing: sysrq\n<4>x\n";
        fs::write(from.join("dmesg-ramoops-0"), text).unwrap();
        let full = |_: &[u8]| Err(io::ErrorKind::StorageFull.into());
        assert!(collect(&from, &into, full).is_err());
        assert!(from.join("dmesg-ramoops-0").exists(), "not readable by anybody yet");
        for number in 0..100 {
            fs::write(from.join(format!("x{number:03}")), vec![0; 300 * 1024]).unwrap();
        }
        let mut log = Vec::new();
        let append = |text: &[u8]| {
            log.extend_from_slice(text);
            Ok(())
        };
        let kept = collect(&from, &into, append).unwrap();
        assert!(log.starts_with(format!("--- dmesg-ramoops-0\n{text}").as_bytes()));
        assert!(kept.len() < 12 && kept[0] == "dmesg-ramoops-0", "{kept:?}");
        assert_eq!(fs::read_dir(&from).unwrap().count(), 0);
        assert_eq!(collect(&from, &into, |_| panic!("nothing is new")).unwrap(), kept);
        assert_eq!(panic_line(&into).unwrap(), "<0>[   10.5] Kernel panic - not syncing: sysrq");
    }
}
