//! The image on the disk is cut short. The firmware refuses to start it and says so; nothing of ours ever runs.

use std::{
    fs::OpenOptions,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tests::{
    artifacts,
    runner::Story,
    vm::{BOOT, Disk, Spec, Vm},
    wait,
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_truncated_image_is_refused_by_the_firmware", story)]
}

fn story() -> Result<()> {
    let image = artifacts::test_image();
    let folder = tempfile::tempdir()?;
    let raw = folder.path().join("truncated.raw");
    copy(&image.raw()?, &raw)?;
    truncate(&raw)?;
    let mut spec = Spec::disk(&image)?;
    spec.disks = vec![Disk::of(&raw)];
    spec.tpm = false;
    let vm = Vm::start(&spec)?;
    let line = vm.wait_line("BdsDxe: failed to", BOOT)?;
    eprintln!("the firmware says: {line}");
    // It goes on to look elsewhere; nothing of ours may appear.
    wait::pause(Duration::from_secs(10));
    ensure!(vm.console.line("stele:").is_none(), "it started:\n{}", vm.console.tail(40));
    Ok(())
}

/// A copy with the holes of a sparse file.
#[expect(clippy::disallowed_methods, reason = "the harness starts processes on the workstation, not on a node")]
fn copy(from: &Path, to: &Path) -> Result<()> {
    let output = std::process::Command::new("cp").arg("--sparse=always").args([from, to]).output()?;
    ensure!(output.status.success(), "cp: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Halves the size of `BOOTX64.EFI` in its folder's entry, as a write that was cut off would.
fn truncate(raw: &Path) -> Result<()> {
    // The FAT specification, 6: a short name of eleven bytes, and at 28 the size.
    const NAME: &[u8] = b"BOOTX64 EFI";
    const SIZE: usize = 28;
    let mut disk = OpenOptions::new().read(true).write(true).open(raw)?;
    // The folders come before the files' content.
    let mut start = vec![0; 64 << 20];
    disk.read_exact(&mut start)?;
    let entry = start.windows(NAME.len()).position(|bytes| bytes == NAME).context("no BOOTX64.EFI on the disk")?;
    let field = start.get(entry + SIZE..entry + SIZE + 4).context("an entry without size")?;
    let size = u32::from_le_bytes(field.try_into()?);
    disk.seek(SeekFrom::Start(u64::try_from(entry + SIZE)?))?;
    disk.write_all(&(size / 2).to_le_bytes())?;
    Ok(())
}
