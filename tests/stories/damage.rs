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

/// Halves the size of `BOOTX64.EFI` in its folder's entry, as a write that was cut off would.
pub(crate) fn truncated(start: &[u8]) -> Result<(usize, Vec<u8>)> {
    // The FAT specification, 6: a short name of eleven bytes, and at 28 the size.
    const SIZE: usize = 28;
    let at = find(start, b"BOOTX64 EFI")? + SIZE;
    let size = u32::from_le_bytes(start.get(at..at + 4).context("an entry without size")?.try_into()?);
    Ok((at, (size / 2).to_le_bytes().to_vec()))
}

/// Another kernel command line in the UKI: one letter of it.
pub(crate) fn another_command_line(start: &[u8]) -> Result<(usize, Vec<u8>)> {
    Ok((find(start, b"rootfstype=ramfs panic=-1 ")?, b"R".to_vec()))
}

fn find(start: &[u8], text: &[u8]) -> Result<usize> {
    let found = start.windows(text.len()).position(|bytes| bytes == text);
    found.with_context(|| format!("no '{}' on the disk", String::from_utf8_lossy(text)))
}
