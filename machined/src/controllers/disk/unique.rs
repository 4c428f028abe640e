//! Makes the GUIDs of an image's disk and partitions its own, and moves the backup table to the disk's end. Blocking.
//!
//! Invariant: at any instruction the first sector of the table describes a complete, valid table: it is one sector, which
//! a disk writes whole or not at all, and it is written only when everything it points to is on the disk.
//!
//! ```text
//! 1  backup entries, backup header   at the disk's end     (the old first copy still counts)
//! 2  new entries                     behind the old ones   (nothing points to them yet)
//! 3  header -> 2                     the switch: from here on the new GUIDs count
//! 4  new entries                     at their usual place
//! 5  header -> 4                     the usual layout
//! 6  protective MBR: the disk's size
//! ```
//! A power cut before 3 starts all over at the next boot, one after it goes on at 4, with the same GUIDs.

use std::io;
use std::path::{Path, PathBuf};

use boot::Guid;

use super::table::{Entry, Gpt, Source, gpt};
use crate::direct::{self, Device};

/// Where the entries usually begin.
const ENTRIES: u64 = 2;

/// What failed; the disk holds a valid table in every case.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot change the partition table")]
    Device(#[from] direct::Error),
    #[error("the first copy of the partition table of {0} is not valid: repair it with sgdisk")]
    Invalid(PathBuf),
    #[error("there is no room on {0} for a second list of partitions before the first partition")]
    NoRoom(PathBuf),
    #[error("a partition of {0} reaches into the last sectors, which the backup of the table needs")]
    NoEnd(PathBuf),
    #[error("the partition table of {0} is not what was written")]
    Differs(PathBuf),
}

/// The disk to change.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) device: PathBuf,
    pub(super) sector: u64,
    pub(super) size: u64,
    /// The disk GUID that the image was built with.
    pub(super) image: Guid,
}

/// Does what is left to do; false when there was nothing. `fresh` gives GUIDs.
pub(super) fn make(disk: &Disk, fresh: impl FnMut() -> Guid) -> Result<bool, Error> {
    let file = Device::read_write(&disk.device)?;
    let Some(old) = read(&file, disk, 1)? else { return Err(Error::Invalid(disk.device.clone())) };
    let backup = read(&file, disk, disk.size / disk.sector - 1)?;
    let steps = plan(disk, &old, backup.as_ref(), fresh)?;
    for (sector, bytes) in &steps {
        file.write(sector * disk.sector, bytes)?;
    }
    if steps.is_empty() {
        return Ok(false);
    }
    let mut mbr = file.read(0, size_of_sector(disk))?;
    if protect(&mut mbr, disk.size / disk.sector) {
        file.write(0, &mbr)?;
    }
    verify(&file, disk, &old)?;
    Ok(true)
}

/// The writes, in order: sector and bytes.
fn plan(
    disk: &Disk,
    old: &Gpt,
    kept: Option<&Gpt>,
    mut fresh: impl FnMut() -> Guid,
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let shared = old.guid() == disk.image;
    let moved = old.field64(72) != ENTRIES;
    if !shared && !moved {
        return Ok(Vec::new());
    }
    let mut entries = old.entries.clone();
    let guid = if shared { fresh() } else { old.guid() };
    if shared {
        for entry in entries.chunks_exact_mut(old.entry).filter(|entry| entry[..16] != [0; 16]) {
            entry[16..32].copy_from_slice(&fresh().0);
        }
    }
    let length = (entries.len() as u64).div_ceil(disk.sector);
    let last = disk.size / disk.sector - 1;
    let backup = last - length;
    // Without partitions the room ends where the backup begins.
    let first_used = old.partitions().map(|entry| entry.first).min().unwrap_or(backup).min(backup);
    if old.partitions().any(|entry| entry.last >= backup) {
        return Err(Error::NoEnd(disk.device.clone()));
    }
    let spare = ENTRIES + length;
    if spare + length > first_used {
        return Err(Error::NoRoom(disk.device.clone()));
    }
    let sealed = |header: Header| sealed(old, &entries, guid, header);
    // After a cut the header says what the spare list left; the backup has what it said before.
    let first = if moved { kept.map_or(spare, |backup| backup.field64(40)) } else { old.field64(40) };
    let usual = Header { at: 1, other: last, entries: ENTRIES, first, last: backup - 1 };
    let mut padded = entries.clone();
    padded.resize(usize::try_from(length * disk.sector).unwrap_or(0), 0);
    let mut steps = Vec::new();
    if shared {
        steps.push((backup, padded.clone()));
        steps.push((last, sealed(Header { at: last, other: 1, entries: backup, ..usual })));
        steps.push((spare, padded.clone()));
        steps.push((1, sealed(Header { entries: spare, first: spare + length, ..usual })));
    }
    steps.push((ENTRIES, padded));
    steps.push((1, sealed(usual)));
    Ok(steps)
}

/// The fields of a header that change; all in sectors.
#[derive(Clone, Copy)]
struct Header {
    at: u64,
    other: u64,
    entries: u64,
    first: u64,
    last: u64,
}

/// The old header with these fields and right checksums.
fn sealed(old: &Gpt, entries: &[u8], guid: Guid, new: Header) -> Vec<u8> {
    let mut header = old.header.clone();
    for (at, value) in [(24, new.at), (32, new.other), (40, new.first), (48, new.last), (72, new.entries)] {
        header[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    header[56..72].copy_from_slice(&guid.0);
    header[88..92].copy_from_slice(&crc32fast::hash(entries).to_le_bytes());
    header[16..20].fill(0);
    let length = usize::try_from(old.field32(12)).unwrap_or(92).min(header.len());
    let crc = crc32fast::hash(&header[..length]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The size in the protective MBR's entry; true when it changed.
fn protect(mbr: &mut [u8], sectors: u64) -> bool {
    let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes();
    let protective = mbr[510..512] == [0x55, 0xaa] && mbr[450] == 0xee && mbr[466] == 0;
    let changed = protective && mbr[458..462] != size;
    if changed {
        mbr[458..462].copy_from_slice(&size);
    }
    changed
}

/// Both copies hold the old partitions, each with a GUID of its own.
fn verify(file: &Device, disk: &Disk, old: &Gpt) -> Result<(), Error> {
    let differs = || Error::Differs(disk.device.clone());
    let last = disk.size / disk.sector - 1;
    let first = read(file, disk, 1)?.ok_or_else(differs)?;
    let backup = read(file, disk, last)?.ok_or_else(differs)?;
    let same = |new: &Gpt| {
        let place = |entry: &Entry| (entry.number, entry.kind, entry.first, entry.last, entry.name.clone());
        new.partitions().map(|e| place(&e)).eq(old.partitions().map(|e| place(&e)))
    };
    let ours = first.guid() != disk.image && first.entries == backup.entries && first.guid() == backup.guid();
    if ours && same(&first) { Ok(()) } else { Err(differs()) }
}

fn read(file: &Device, disk: &Disk, lba: u64) -> Result<Option<Gpt>, Error> {
    gpt(file, lba, disk.sector, disk.size).map_err(|source| {
        direct::Error::Io { verb: "read the partition table of", device: disk.device.clone(), source }.into()
    })
}

fn size_of_sector(disk: &Disk) -> usize {
    usize::try_from(disk.sector).unwrap_or(512)
}

impl Source for Device {
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        Device::read(self, offset, len).map_err(io::Error::other)
    }
}

/// Tells the kernel's listeners that the disk changed, without taking its partitions away for a moment.
pub(super) fn announce(sys: &Path, name: &str) -> io::Result<()> {
    std::fs::write(sys.join("block").join(name).join("uevent"), "change")
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::disk as image;
    use super::*;

    const IMAGE: Guid = Guid([9; 16]);

    /// GUIDs that can be told apart, as random ones can.
    fn fresh() -> impl FnMut() -> Guid {
        let mut next = 0x40;
        move || {
            next += 1;
            Guid([next; 16])
        }
    }

    /// A disk larger than the image written to it.
    fn written(dir: &Path, sector: u64, grown: u64) -> (Disk, Vec<u8>) {
        let mut bytes = image(sector, 4096, IMAGE.0);
        bytes.resize(usize::try_from((4096 + grown) * sector).unwrap(), 0);
        let device = dir.join("disk");
        std::fs::write(&device, &bytes).unwrap();
        (Disk { device, sector, size: bytes.len() as u64, image: IMAGE }, bytes)
    }

    fn check(bytes: &[u8], sector: u64) {
        let mut disk = io::Cursor::new(bytes);
        let gpt = gptman::GPT::read_from(&mut disk, sector).unwrap();
        let last = bytes.len() as u64 / sector - 1;
        assert_eq!((gpt.header.backup_lba, gpt.header.partition_entry_lba), (last, 2));
        assert_ne!(gpt.header.disk_guid, IMAGE.0);
        assert_eq!(gpt[2].partition_name.as_str(), "META");
        assert_eq!(gpt[1].attribute_bits, 5);
        assert_ne!(gpt[1].unique_partition_guid, gpt[2].unique_partition_guid);
        assert_ne!(gpt[1].unique_partition_guid, [1; 16]);
    }

    #[test]
    fn another_implementation_reads_the_result() {
        for (sector, grown) in [(512, 1000), (512, 0), (4096, 7)] {
            let dir = tempfile::tempdir().unwrap();
            let (disk, _) = written(dir.path(), sector, grown);
            assert!(make(&disk, fresh()).unwrap());
            let bytes = std::fs::read(&disk.device).unwrap();
            check(&bytes, sector);
            let size = u32::from_le_bytes(bytes[458..462].try_into().unwrap());
            assert_eq!(u64::from(size), disk.size / sector - 1);
            assert!(!make(&disk, fresh()).unwrap());
            assert_eq!(std::fs::read(&disk.device).unwrap(), bytes);
        }
    }

    #[test]
    fn a_power_cut_anywhere_leaves_a_valid_table_and_the_next_boot_finishes() {
        for grown in [0, 1000] {
            let dir = tempfile::tempdir().unwrap();
            let (disk, start) = written(dir.path(), 512, grown);
            let old = gpt(&start, 1, 512, disk.size).unwrap().unwrap();
            let steps = plan(&disk, &old, None, fresh()).unwrap();
            for whole in 0..steps.len() {
                // Of the write that is cut, any number of sectors may have arrived.
                let all = steps[whole].1.len() / 512;
                for sectors in [0, 1, all / 2, all] {
                    let mut bytes = start.clone();
                    for (number, (lba, written)) in steps[..=whole].iter().enumerate() {
                        let length = if number == whole { sectors * 512 } else { written.len() };
                        let at = usize::try_from(lba * 512).unwrap();
                        bytes[at..at + length].copy_from_slice(&written[..length]);
                    }
                    let now = gpt(&bytes, 1, 512, disk.size).unwrap().expect("the first copy is always valid");
                    assert_eq!(now.partitions().count(), 2);
                    std::fs::write(&disk.device, &bytes).unwrap();
                    make(&disk, fresh()).unwrap();
                    check(&std::fs::read(&disk.device).unwrap(), 512);
                }
            }
        }
    }

    #[test]
    fn says_why_it_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, mut bytes) = written(dir.path(), 512, 0);
        let short = Disk { size: disk.size - 512 * 1600, ..disk.clone() };
        assert!(matches!(make(&short, fresh()), Err(Error::Invalid(_) | Error::NoEnd(_))));
        bytes[512] = 0;
        std::fs::write(&disk.device, &bytes).unwrap();
        assert!(matches!(make(&disk, fresh()), Err(Error::Invalid(_))));
    }

    fuzz::targets! {
        // A valid table of somebody else's making: what is written in its place is within the disk and valid.
        unique_guids: |bytes| {
            let mut bytes = bytes.to_vec();
            bytes.resize(64 * 512, 0);
            super::super::super::table::tests::seal(&mut bytes);
            let size = bytes.len() as u64;
            let Some(old) = gpt(&bytes, 1, 512, size).unwrap() else { return };
            let disk = Disk { device: "/dev/null".into(), sector: 512, size, image: old.guid() };
            let Ok(steps) = plan(&disk, &old, None, || Guid([7; 16])) else { return };
            for (lba, written) in steps {
                let at = usize::try_from(lba * 512).unwrap();
                bytes[at..at + written.len()].copy_from_slice(&written);
            }
            assert!(gpt(&bytes, 1, 512, size).unwrap().is_some() && gpt(&bytes, 63, 512, size).unwrap().is_some());
            protect(&mut bytes[..512], 64);
        },
    }
}
