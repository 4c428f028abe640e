//! The machine boots from whatever a disk is attached to, also one with sectors of 4096 bytes.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::{
    artifacts, child, machine,
    runner::Story,
    scratch::Scratch,
    vm::{Bus, Disk, Spec},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("boots_from_nvme_with_sectors_of_4096_bytes", || story(Bus::Nvme, 4096, "nvme0n1")),
        Story::new("boots_from_a_scsi_disk", || story(Bus::Scsi, 512, "sda")),
        Story::new("boots_from_a_sata_disk", || story(Bus::Sata, 512, "sda")),
    ]
}

fn story(bus: Bus, sector: u32, name: &str) -> Result<()> {
    let image = artifacts::test_image();
    let folder = Scratch::new()?;
    let raw = if sector == 512 { image.raw()? } else { with_sectors(&image.uki()?, folder.path().join("disk.raw"))? };
    let mut spec = Spec::disk(&image)?;
    spec.tpm = false;
    spec.disks = vec![Disk { bus, sector, ..Disk::of(raw) }];
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        let disk = machine.apictl.get("disk", name)?;
        ensure!(disk["value"]["sector"] == sector, "{disk}");
        let found = machine.wait_system_disk()?;
        ensure!(found["value"]["disk"] == name, "another disk: {found}");
        Ok(())
    })
}

/// The image as a disk with sectors of 4096 bytes; its table cannot be the same.
fn with_sectors(uki: &std::path::Path, raw: PathBuf) -> Result<PathBuf> {
    let output = child::free(artifacts::imager())
        .args(["image", "--sector-size", "4096", "--uki"])
        .arg(uki)
        .arg("--output")
        .arg(&raw)
        .output()
        .context("starting imager; run `make build`")?;
    ensure!(output.status.success(), "imager image: {}", String::from_utf8_lossy(&output.stderr));
    Ok(raw)
}
