//! Writes a changed partition table so that power may go at any instruction, and moves its backup to the disk's end. Blocking.
//!
//! Invariant: at any instruction the first sector of the table describes a complete, valid table: it is one sector, which
//! a disk writes whole or not at all, and it is written only when everything it points to is on the disk.
//!
//! ```text
//! 1  backup entries, backup header   at the disk's end     (the old first copy still counts)
//! 2  new entries                     behind the old ones   (nothing points to them yet)
//! 3  header -> 2                     the switch: from here on the new entries count
//! 4  new entries                     at their usual place
//! 5  header -> 4                     the usual layout
//! 6  protective MBR: the disk's size
//! ```
//! A power cut before 3 leaves the old table, one after it the new one; `unique` goes on at 4 at the next boot.

use std::io;
use std::path::PathBuf;

use boot::Guid;

use super::table::{Gpt, Source, gpt};
use sys::direct::{self, Device};

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
    #[error("an earlier change of the partition table of {0} was cut off: reboot, which finishes it")]
    Unfinished(PathBuf),
    #[error("the partition table of {0} is not what was written")]
    Differs(PathBuf),
}

/// The disk to change.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) device: PathBuf,
    pub(super) sector: u64,
    pub(super) size: u64,
}

/// What the table is to say.
#[derive(Clone, Debug)]
pub(super) struct New {
    /// As many bytes as the old ones.
    pub(super) entries: Vec<u8>,
    /// The disk's GUID.
    pub(super) guid: Guid,
}

impl Disk {
    /// The sector of the backup's header.
    pub(super) fn last(&self) -> u64 {
        self.size / self.sector - 1
    }

    /// The first sector that the backup of a table with these entries takes.
    pub(super) fn backup(&self, entries: usize) -> u64 {
        self.last().saturating_sub((entries as u64).div_ceil(self.sector))
    }

    /// The table whose header lies there, if it is valid.
    pub(super) fn read(&self, file: &Device, lba: u64) -> Result<Option<Gpt>, Error> {
        gpt(file, lba, self.sector, self.size).map_err(|source| {
            direct::Error::Io { verb: "read the partition table of", device: self.device.clone(), source }.into()
        })
    }

    /// The first copy.
    pub(super) fn first(&self, file: &Device) -> Result<Gpt, Error> {
        self.read(file, 1)?.ok_or_else(|| Error::Invalid(self.device.clone()))
    }
}

/// Whether steps 4 and 5 of a change are still to be done.
pub(super) fn is_unfinished(table: &Gpt) -> bool {
    table.field64(72) != ENTRIES
}

/// Changes the entries of a table; also moves its backup to the end of a disk that has grown.
pub(super) fn edit<E: From<Error>>(
    disk: &Disk,
    change: impl FnOnce(&Gpt, &mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let file = Device::read_write(&disk.device).map_err(Error::from)?;
    let old = disk.first(&file)?;
    if is_unfinished(&old) {
        return Err(Error::Unfinished(disk.device.clone()).into());
    }
    let mut new = New { entries: old.entries.clone(), guid: old.guid() };
    change(&old, &mut new.entries)?;
    let steps = steps(disk, &old, Change::Whole, &new)?;
    write(&file, disk, &steps)?;
    Ok(verify(&file, disk, &new)?)
}

/// The writes of a change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// All of it.
    Whole,
    /// What is left of one that was cut off after the switch; with the backup, as far as it is valid.
    Rest(Option<&'a Gpt>),
}

/// The writes, in order: sector and bytes.
pub(super) fn steps(disk: &Disk, old: &Gpt, change: Change<'_>, new: &New) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let length = (new.entries.len() as u64).div_ceil(disk.sector);
    let (last, backup) = (disk.last(), disk.backup(new.entries.len()));
    // Without partitions the room ends where the backup begins.
    let first_used = old.partitions().map(|entry| entry.first).min().unwrap_or(backup).min(backup);
    if old.partitions().any(|entry| entry.last >= backup) {
        return Err(Error::NoEnd(disk.device.clone()));
    }
    let spare = ENTRIES + length;
    if spare + length > first_used {
        return Err(Error::NoRoom(disk.device.clone()));
    }
    let sealed = |header: Header| sealed(old, new, header);
    // After a cut the header says what the spare list left; the backup has what it said before.
    let first = match change {
        _ if !is_unfinished(old) => old.field64(40),
        Change::Whole | Change::Rest(None) => spare,
        Change::Rest(Some(backup)) => backup.field64(40),
    };
    let usual = Header { at: 1, other: last, entries: ENTRIES, first, last: backup - 1 };
    let mut padded = new.entries.clone();
    padded.resize(usize::try_from(length * disk.sector).unwrap_or(0), 0);
    let mut steps = Vec::new();
    if matches!(change, Change::Whole) {
        steps.push((backup, padded.clone()));
        steps.push((last, sealed(Header { at: last, other: 1, entries: backup, ..usual })));
        steps.push((spare, padded.clone()));
        steps.push((1, sealed(Header { entries: spare, first: spare + length, ..usual })));
    }
    steps.push((ENTRIES, padded));
    steps.push((1, sealed(usual)));
    Ok(steps)
}

/// Writes the steps and the protective MBR.
pub(super) fn write(file: &Device, disk: &Disk, steps: &[(u64, Vec<u8>)]) -> Result<(), Error> {
    for (sector, bytes) in steps {
        file.write(sector * disk.sector, bytes)?;
    }
    let mut mbr = file.read(0, usize::try_from(disk.sector).unwrap_or(512))?;
    if protect(&mut mbr, disk.size / disk.sector) {
        file.write(0, &mbr)?;
    }
    Ok(())
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
fn sealed(old: &Gpt, table: &New, new: Header) -> Vec<u8> {
    let mut header = old.header.clone();
    for (at, value) in [(24, new.at), (32, new.other), (40, new.first), (48, new.last), (72, new.entries)] {
        header[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    header[56..72].copy_from_slice(&table.guid.0);
    header[88..92].copy_from_slice(&crc32fast::hash(&table.entries).to_le_bytes());
    header[16..20].fill(0);
    let length = usize::try_from(old.field32(12)).unwrap_or(92).min(header.len());
    let crc = crc32fast::hash(&header[..length]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The size in the protective MBR's entry; true when it changed.
pub(super) fn protect(mbr: &mut [u8], sectors: u64) -> bool {
    let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes();
    let protective = mbr[510..512] == [0x55, 0xaa] && mbr[450] == 0xee && mbr[466] == 0;
    let changed = protective && mbr[458..462] != size;
    if changed {
        mbr[458..462].copy_from_slice(&size);
    }
    changed
}

/// Both copies say what was written.
pub(super) fn verify(file: &Device, disk: &Disk, new: &New) -> Result<(), Error> {
    for lba in [1, disk.last()] {
        let there = disk.read(file, lba)?;
        if !there.is_some_and(|gpt| gpt.entries == new.entries && gpt.guid() == new.guid) {
            return Err(Error::Differs(disk.device.clone()));
        }
    }
    Ok(())
}

impl Source for Device {
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        Device::read(self, offset, len).map_err(io::Error::other)
    }
}
