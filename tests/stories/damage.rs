//! Copies of the image's disk that something happened to.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use tests::child;

/// Where the EFI partition's folders and the UKI are: everything that is looked for here.
const START: usize = 64 << 20;

/// Copies a disk with the holes of a sparse file, and changes it: `change` is given its start and says at which byte which
/// bytes are to stand.
pub(crate) fn copy(from: &Path, to: &Path, change: impl FnOnce(&[u8]) -> Result<(usize, Vec<u8>)>) -> Result<()> {
    let output = child::free("cp").arg("--sparse=always").args([from, to]).output()?;
    ensure!(output.status.success(), "cp: {}", String::from_utf8_lossy(&output.stderr));
    let mut start = vec![0; START];
    File::open(to)?.read_exact(&mut start)?;
    let (at, bytes) = change(&start)?;
    let mut disk = OpenOptions::new().write(true).open(to)?;
    disk.seek(SeekFrom::Start(u64::try_from(at)?))?;
    Ok(disk.write_all(&bytes)?)
}

/// Writes into a disk, and beyond its end.
pub(crate) fn write(disk: &Path, at: u64, bytes: &[u8]) -> Result<()> {
    let mut disk = OpenOptions::new().write(true).open(disk)?;
    disk.seek(SeekFrom::Start(at))?;
    Ok(disk.write_all(bytes)?)
}

/// Adds partitions (type, name, first byte, length) to the first copy of the disk's table (UEFI specification, 5.3).
pub(crate) fn with_partitions(start: &[u8], parts: &[([u8; 16], &str, u64, u64)]) -> Result<(usize, Vec<u8>)> {
    const SECTOR: usize = 512;
    const ENTRY: usize = 128;
    let mut table = start.get(SECTOR..34 * SECTOR).context("no table")?.to_vec();
    let (header, entries) = table.split_at_mut(SECTOR);
    for (number, (kind, name, first, length)) in parts.iter().enumerate() {
        let free = |entry: &&mut [u8]| entry[..16] == [0; 16];
        let entry = entries.chunks_mut(ENTRY).find(free).context("no entry left")?;
        entry[..16].copy_from_slice(kind);
        entry[16..32].fill(0x70 + u8::try_from(number)?);
        let sector = SECTOR as u64;
        entry[32..40].copy_from_slice(&(first / sector).to_le_bytes());
        entry[40..48].copy_from_slice(&((first + length) / sector - 1).to_le_bytes());
        for (unit, room) in name.encode_utf16().zip(entry[56..].chunks_mut(2)) {
            room.copy_from_slice(&unit.to_le_bytes());
        }
    }
    // The last usable sector: the disk is larger than the image.
    header[48..56].copy_from_slice(&(4096 * 2048u64 - 34).to_le_bytes());
    header[88..92].copy_from_slice(&crc(entries).to_le_bytes());
    header[16..20].fill(0);
    let sum = crc(&header[..92]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    Ok((SECTOR, table))
}

/// CRC-32 (IEEE), one bit after the other.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
