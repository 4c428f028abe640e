//! Where on a disk a partition fits, and its entry in the table. Pure.
//!
//! Invariant: a range that is given out overlaps no partition, no copy of the table, and lies on whole MiB.

use std::ops::Range;

use boot::Guid;
use boot::part::Kind;

use super::super::rewrite::Disk;
use super::super::table::Gpt;

/// What partitions are aligned to: what every disk and RAID likes.
pub(super) const ALIGN: u64 = 1 << 20;

/// Why there is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Error {
    #[error(
        "{name} needs {} MiB in one piece, and the largest free piece of {disk} has {} MiB: enlarge the disk, or delete \
         partitions that are not needed", needed >> 20, free >> 20
    )]
    NoRoom { name: &'static str, disk: String, needed: u64, free: u64 },
    #[error("the partition table of {0} has no entry left: delete partitions that are not needed")]
    NoEntry(String),
}

/// The free pieces of the disk in bytes, aligned, in order.
fn free(disk: &Disk, table: &Gpt) -> Vec<Range<u64>> {
    let mut used: Vec<_> = table.partitions().map(|entry| entry.first..entry.last.saturating_add(1)).collect();
    used.push(disk.backup(table.entries.len())..u64::MAX);
    used.sort_by_key(|range| range.start);
    let mut free = Vec::new();
    // Twice the entries: while a table is changed there is a second list of them.
    let length = (table.entries.len() as u64).div_ceil(disk.sector);
    let mut from = table.field64(40).max(2 + 2 * length);
    for range in used {
        let start = from.saturating_mul(disk.sector).checked_next_multiple_of(ALIGN).unwrap_or(u64::MAX);
        let end = range.start.saturating_mul(disk.sector) / ALIGN * ALIGN;
        if start < end {
            free.push(start..end);
        }
        from = from.max(range.end);
    }
    free
}

/// The first piece for a partition of this size.
pub(super) fn first(disk: &Disk, table: &Gpt, kind: &Kind, needed: u64) -> Result<Range<u64>, Error> {
    let free = free(disk, table);
    let fits = free.iter().find(|range| range.end - range.start >= needed);
    fits.map(|range| range.start..range.start + needed).ok_or_else(|| no_room(disk, kind, needed, &free))
}

/// The piece at the end of the disk, from which a partition can grow with it; at least so large.
pub(super) fn last(disk: &Disk, table: &Gpt, kind: &Kind, least: u64) -> Result<Range<u64>, Error> {
    let free = free(disk, table);
    let end =
        table.partitions().map(|entry| entry.last.saturating_add(1)).max().unwrap_or(0).saturating_mul(disk.sector);
    let fits = free.last().filter(|range| range.start >= end && range.end - range.start >= least);
    fits.cloned().ok_or_else(|| no_room(disk, kind, least, &free))
}

fn no_room(disk: &Disk, kind: &Kind, needed: u64, free: &[Range<u64>]) -> Error {
    let free = free.iter().map(|range| range.end - range.start).max().unwrap_or(0);
    Error::NoRoom { name: kind.name, disk: disk.device.display().to_string(), needed, free }
}

/// Up to which sector a partition can grow; none when that is not worth the change of the table.
pub(super) fn growth(disk: &Disk, table: &Gpt, number: u32) -> Option<u64> {
    let of = table.partitions().find(|entry| entry.number == number)?;
    let next = table.partitions().map(|entry| entry.first).filter(|first| *first > of.last).min();
    let end =
        next.unwrap_or(u64::MAX).min(disk.backup(table.entries.len())).saturating_mul(disk.sector) / ALIGN * ALIGN;
    let last = (end / disk.sector).checked_sub(1)?;
    (last > of.last).then_some(last)
}

/// Adds an entry for a range of bytes; returns its number.
pub(super) fn add(
    disk: &Disk,
    table: &Gpt,
    entries: &mut [u8],
    kind: &Kind,
    range: &Range<u64>,
    guid: Guid,
    attributes: u64,
) -> Result<u32, Error> {
    let used = table.partitions().map(|entry| entry.number).collect::<Vec<_>>();
    let count = entries.len() / table.entry;
    let number = (1..=u32::try_from(count).unwrap_or(0)).find(|number| !used.contains(number));
    let number = number.ok_or_else(|| Error::NoEntry(disk.device.display().to_string()))?;
    let bytes = &mut entries[(number as usize - 1) * table.entry..][..table.entry];
    bytes.fill(0);
    bytes[..16].copy_from_slice(&kind.guid.0);
    bytes[16..32].copy_from_slice(&guid.0);
    let (first, last) = (range.start / disk.sector, range.end / disk.sector - 1);
    for (at, value) in [(32, first), (40, last), (48, attributes)] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    for (unit, room) in kind.name.encode_utf16().zip(bytes[56..128].chunks_exact_mut(2)) {
        room.copy_from_slice(&unit.to_le_bytes());
    }
    Ok(number)
}

/// Changes the last sector or the attributes of an entry.
pub(super) fn set(table: &Gpt, entries: &mut [u8], number: u32, last: Option<u64>, attributes: Option<u64>) {
    let Some(bytes) = entries.chunks_exact_mut(table.entry).nth(number as usize - 1) else { return };
    for (at, value) in [(40, last), (48, attributes)] {
        if let Some(value) = value {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::table::{gpt, tests::disk as image};
    use super::*;
    use boot::part::{EPHEMERAL, STATE};
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    /// The test image (two partitions within the first two MiB of 512-byte sectors) on a disk of so many MiB.
    fn disk(sector: u64, mib: u64) -> (Disk, Gpt) {
        let bytes = image(sector, 4096, [9; 16]);
        let table = gpt(&bytes, 1, sector, mib * MIB).unwrap().unwrap();
        (Disk { device: "/dev/vda".into(), sector, size: mib * MIB }, table)
    }

    #[test]
    fn state_fits_behind_meta_and_ephemeral_takes_the_rest() {
        for (sector, first_free) in [(512, 2 * MIB), (4096, 10 * MIB)] {
            let (disk, mut table) = disk(sector, 4096);
            let range = first(&disk, &table, &STATE, 256 * MIB).unwrap();
            assert_eq!(range, first_free..first_free + 256 * MIB);
            let mut entries = table.entries.clone();
            assert_eq!(add(&disk, &table, &mut entries, &STATE, &range, Guid([1; 16]), 1 << 48), Ok(3));
            table.entries = entries;
            let entry = table.partitions().find(|entry| entry.number == 3).unwrap();
            assert_eq!((entry.kind, &*entry.name, entry.attributes), (STATE.guid, "STATE", 1 << 48));
            assert_eq!((entry.first * sector, (entry.last + 1) * sector), (range.start, range.end));

            let rest = last(&disk, &table, &EPHEMERAL, 300 * MIB).unwrap();
            assert_eq!(rest, range.end..4095 * MIB);
            assert_eq!(growth(&disk, &table, 3), Some(4095 * MIB / sector - 1));
            set(&table, &mut table.entries.clone(), 3, Some(4095 * MIB / sector - 1), Some(0));
        }
    }

    #[test]
    fn says_how_much_is_free_and_needed() {
        let (disk, table) = disk(512, 200);
        let error = first(&disk, &table, &STATE, 256 * MIB).unwrap_err().to_string();
        assert!(error.contains("STATE needs 256 MiB") && error.contains("197 MiB"), "{error}");
        assert!(last(&disk, &table, &EPHEMERAL, 300 * MIB).is_err());
        let mut table = table;
        let full = image(512, 4096, [9; 16]);
        let entry: Vec<u8> = full[1024..1152].to_vec();
        table.entries = entry.repeat(128);
        let none = add(&disk, &table, &mut table.entries.clone(), &STATE, &(MIB..2 * MIB), Guid([1; 16]), 0);
        assert!(none.unwrap_err().to_string().contains("no entry left"));
    }

    proptest! {
        /// Whatever valid table a disk has, nothing that is given out overlaps a partition or a copy of the table.
        #[test]
        fn nothing_overlaps(parts in prop::collection::vec((0..9000u64, 0..900u64), 0..9), needed in 1..6u64, mib in 3..9u64) {
            let (disk, mut table) = disk(512, mib);
            let mut entries = vec![0; table.entries.len()];
            for (bytes, (start, length)) in entries.chunks_exact_mut(128).zip(&parts) {
                bytes[..32].fill(1);
                bytes[32..40].copy_from_slice(&start.to_le_bytes());
                bytes[40..48].copy_from_slice(&(start + length).to_le_bytes());
            }
            table.entries = entries;
            let backup = disk.backup(table.entries.len()) * 512;
            for range in [first(&disk, &table, &STATE, needed * MIB), last(&disk, &table, &EPHEMERAL, needed * MIB)].into_iter().flatten() {
                prop_assert!(range.start >= 66 * 512 && range.end <= backup && range.start % MIB == 0 && range.end % MIB == 0);
                for (start, length) in &parts {
                    prop_assert!(range.end <= start * 512 || range.start > (start + length) * 512, "{range:?} {start} {length}");
                }
            }
        }
    }
}
