//! Reading a partition table: GPT (UEFI 2.10, chapter 5) and MBR.
//!
//! Invariant: whatever a disk holds, reading it is bounded and never panics: a valid checksum proves nothing about who
//! wrote it. Own code for that reason: the crates that read GPT allocate what a header asks for.

use std::io;

use boot::Guid;

/// Bytes of all entries at most; every real table has 16 KiB.
const ENTRIES_MAX: u64 = 128 * 1024;

/// Where a table is read from: a disk, or bytes in tests.
pub(super) trait Source {
    /// Exactly `len` bytes from `offset`.
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;
}

/// What kind of table a disk has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// GUID partition table.
    Gpt(Gpt),
    /// The older kind: the disk's signature and the types of the four primary partitions.
    Mbr { signature: u32, kinds: [u8; 4] },
}

/// A valid GUID partition table, with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gpt {
    /// The sector that holds the header.
    pub(super) header: Vec<u8>,
    /// All entries, as many bytes as their checksum covers.
    pub(super) entries: Vec<u8>,
    /// Bytes of one entry.
    pub(super) entry: usize,
}

/// One used entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u32,
    pub(super) kind: Guid,
    pub(super) guid: Guid,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) attributes: u64,
    pub(super) name: String,
}

/// Reads the table of a disk of `size` bytes; the backup counts when the first copy is not valid.
pub(super) fn read(disk: &impl Source, sector: u32, size: u64) -> io::Result<Option<Table>> {
    let sector = u64::from(sector.clamp(512, 4096));
    if size < 4 * sector {
        return Ok(None);
    }
    let first = disk.read(0, usize_of(sector))?;
    let mbr = mbr(&first);
    if matches!(&mbr, Some(Table::Mbr { kinds, .. }) if !kinds.contains(&0xee)) {
        return Ok(mbr);
    }
    for lba in [1, size / sector - 1] {
        if let Some(gpt) = gpt(disk, lba, sector, size)? {
            return Ok(Some(Table::Gpt(gpt)));
        }
    }
    Ok(mbr)
}

fn mbr(sector: &[u8]) -> Option<Table> {
    (sector.get(510..512)? == [0x55, 0xaa]).then_some(())?;
    let kinds = [450, 466, 482, 498].map(|at| sector[at]);
    // A file system's boot sector ends alike; its "entries" are code.
    let active = [446, 462, 478, 494].iter().all(|at| sector[*at] & 0x7f == 0);
    let signature = u32::from_le_bytes(sector.get(440..444)?.try_into().ok()?);
    (active && kinds != [0; 4]).then_some(Table::Mbr { signature, kinds })
}

/// The table whose header lies at `lba`, if it is valid.
pub(super) fn gpt(disk: &impl Source, lba: u64, sector: u64, size: u64) -> io::Result<Option<Gpt>> {
    let header = disk.read(lba * sector, usize_of(sector))?;
    let Some((at, length, entry)) = layout(&header, lba, sector, size) else { return Ok(None) };
    let mut entries = disk.read(at, usize_of(length.next_multiple_of(sector)))?;
    entries.truncate(usize_of(length));
    let gpt = Gpt { header, entries, entry };
    Ok((gpt.field32(88) == crc32fast::hash(&gpt.entries)).then_some(gpt))
}

/// Offset and length of the entries and size of one, of a header that is valid at this place.
fn layout(header: &[u8], lba: u64, sector: u64, size: u64) -> Option<(u64, u64, usize)> {
    let word = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let long = |at: usize| header.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let length = usize::try_from(word(12)?).ok()?;
    if !header.starts_with(b"EFI PART") || !(92..=header.len()).contains(&length) || long(24)? != lba {
        return None;
    }
    let mut covered = header[..length].to_vec();
    covered[16..20].fill(0);
    if word(16)? != crc32fast::hash(&covered) {
        return None;
    }
    let (count, entry) = (u64::from(word(80)?), u64::from(word(84)?));
    let length = count.checked_mul(entry)?;
    let at = long(72)?.checked_mul(sector)?;
    let end = at.checked_add(length.checked_next_multiple_of(sector)?)?;
    let sane = entry >= 128 && entry.is_power_of_two() && (1..=ENTRIES_MAX).contains(&length) && at >= sector;
    (sane && end <= size).then_some((at, length, usize_of(entry)))
}

impl Gpt {
    /// The disk's GUID.
    pub(super) fn guid(&self) -> Guid {
        Guid(self.header[56..72].try_into().unwrap_or_default())
    }

    /// The used entries.
    pub(super) fn partitions(&self) -> impl Iterator<Item = Entry> + '_ {
        let entries = self.entries.chunks_exact(self.entry).zip(1..);
        entries.filter_map(|(bytes, number)| {
            let guid = |at: usize| bytes[at..at + 16].try_into().map(Guid).ok();
            let long = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
            let units = bytes[56..128].as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
            let name = char::decode_utf16(units.take_while(|unit| *unit != 0));
            let kind = guid(0).filter(|kind| *kind != Guid::ZERO)?;
            let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
            let name = name.map(|c| c.map_or('\u{fffd}', clean)).collect();
            let (first, last, attributes) = (long(32)?, long(40)?, long(48)?);
            Some(Entry { number, kind, guid: guid(16)?, first, last, attributes, name })
        })
    }

    pub(super) fn field32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.header[at..at + 4].try_into().unwrap_or_default())
    }

    pub(super) fn field64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.header[at..at + 8].try_into().unwrap_or_default())
    }
}

/// Sizes here are bounded far below 4 GiB.
fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Source for Vec<u8> {
        fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
            let at = usize_of(offset);
            self.get(at..at + len).map(Into::into).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// A disk made by another implementation: two partitions, EFI and META.
    pub(in super::super) fn disk(sector: u64, sectors: u64, guid: [u8; 16]) -> Vec<u8> {
        let mut disk = io::Cursor::new(vec![0; usize_of(sector * sectors)]);
        let mut gpt = gptman::GPT::new_from(&mut disk, sector, guid).unwrap();
        for (number, kind, name) in [(1, boot::part::ESP, "EFI"), (2, boot::part::META, "META")] {
            let first = 2048 + 256 * (u64::from(number) - 1);
            gpt[number] = gptman::GPTPartitionEntry {
                partition_type_guid: kind.guid.0,
                unique_partition_guid: [u8::try_from(number).unwrap(); 16],
                starting_lba: first,
                ending_lba: first + 255,
                attribute_bits: 5,
                partition_name: name.into(),
            };
        }
        gpt.write_into(&mut disk).unwrap();
        gptman::GPT::write_protective_mbr_into(&mut disk, sector).unwrap();
        disk.into_inner()
    }

    #[test]
    fn reads_what_another_implementation_wrote() {
        for sector in [512, 4096] {
            let bytes = disk(sector, 4096, [9; 16]);
            let size = bytes.len() as u64;
            let Some(Table::Gpt(gpt)) = read(&bytes, u32::try_from(sector).unwrap(), size).unwrap() else {
                panic!("no table")
            };
            assert_eq!(gpt.guid(), Guid([9; 16]));
            let entries: Vec<_> = gpt.partitions().collect();
            assert_eq!((entries.len(), &*entries[1].name, entries[1].kind), (2, "META", boot::part::META.guid));
            assert_eq!((entries[1].number, entries[1].first, entries[1].last), (2, 2304, 2559));

            let mut torn = bytes.clone();
            torn[usize_of(sector) + 60] ^= 1;
            assert_eq!(gpt.partitions().collect::<Vec<_>>(), entries);
            let Some(Table::Gpt(backup)) = read(&torn, u32::try_from(sector).unwrap(), size).unwrap() else {
                panic!("no backup")
            };
            assert_eq!(backup.partitions().collect::<Vec<_>>(), entries);
        }
    }

    #[test]
    fn tells_an_mbr_from_a_boot_sector() {
        let mut bytes = vec![0; 8192];
        bytes[440..444].copy_from_slice(&[1, 2, 3, 4]);
        bytes[450] = 0x0c;
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        let mbr = Table::Mbr { signature: 0x0403_0201, kinds: [0x0c, 0, 0, 0] };
        assert_eq!(read(&bytes, 512, 8192).unwrap(), Some(mbr));
        bytes[446] = 0x3c;
        assert_eq!(read(&bytes, 512, 8192).unwrap(), None);
        assert_eq!(read(&vec![0; 8192], 512, 8192).unwrap(), None);
        assert_eq!(read(&vec![0; 100], 512, 100).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_header_with_a_right_checksum_is_fine(noise: [u8; 68], length in 92..513u32) {
            let mut bytes = disk(512, 4096, [9; 16]);
            let header = 512;
            bytes[header + 24..header + 92].copy_from_slice(&noise);
            bytes[header + 24..header + 32].copy_from_slice(&1u64.to_le_bytes());
            bytes[header + 12..header + 16].copy_from_slice(&length.to_le_bytes());
            bytes[header + 16..header + 20].fill(0);
            let crc = crc32fast::hash(&bytes[header..header + length as usize]);
            bytes[header + 16..header + 20].copy_from_slice(&crc.to_le_bytes());
            let size = bytes.len() as u64;
            let _ = read(&bytes, 512, size);
        }

        #[test]
        fn a_flipped_byte_is_fine(at in 0..17408usize, by in 1u8..) {
            let mut bytes = disk(512, 4096, [9; 16]);
            bytes[at] ^= by;
            let size = bytes.len() as u64;
            let _ = read(&bytes, 512, size);
        }
    }

    fuzz::targets! {
        // The first sectors of a disk; the rest of it is zero.
        partition_table: |bytes| {
            let mut disk = bytes.to_vec();
            disk.resize(64 * 512, 0);
            let size = disk.len() as u64;
            let _ = read(&disk, 512, size);
            seal(&mut disk);
            if let Some(Table::Gpt(gpt)) = read(&disk, 512, size).unwrap() {
                for entry in gpt.partitions() {
                    assert!(!entry.name.contains(char::is_control));
                }
            }
        },
    }

    /// Makes the checksums of the table in the second sector right, as far as it has places for them.
    pub(in super::super) fn seal(disk: &mut [u8]) {
        let word = |disk: &[u8], at: usize| u32::from_le_bytes(disk[512 + at..][..4].try_into().unwrap()) as usize;
        disk[512..520].copy_from_slice(b"EFI PART");
        disk[512 + 24..][..8].copy_from_slice(&1u64.to_le_bytes());
        let (at, count, entry) = (word(disk, 72).wrapping_mul(512), word(disk, 80), word(disk, 84));
        if let Some(entries) = count.checked_mul(entry).and_then(|length| disk.get(at..at.checked_add(length)?)) {
            let crc = crc32fast::hash(entries);
            disk[512 + 88..][..4].copy_from_slice(&crc.to_le_bytes());
        }
        disk[512 + 16..][..4].fill(0);
        let length = word(disk, 12).min(512);
        let crc = crc32fast::hash(&disk[512..512 + length]);
        disk[512 + 16..][..4].copy_from_slice(&crc.to_le_bytes());
    }
}
