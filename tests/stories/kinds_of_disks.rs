//! The machine boots from whatever a disk is attached to, also one with sectors of 4096 bytes, on which it makes its volumes.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::{
    artifacts, child, machine,
    operator::{Operator, wait_blessed},
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
    spec.disks = vec![Disk { bus, sector, size: Some(4 << 30), ..Disk::of(raw) }];
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        let disk = machine.apictl.get("disk", name)?;
        ensure!(disk["value"]["sector"] == sector, "{disk}");
        let found = machine.wait_system_disk()?;
        ensure!(found["value"]["disk"] == name, "another disk: {found}");
        if sector == 512 {
            return Ok(());
        }
        Operator::new(machine)?.configure(machine, "node-1")?;
        wait_blessed(&machine.apictl, 1)?;
        for (volume, format) in [("STATE", "ext4"), ("EPHEMERAL", "xfs")] {
            machine.apictl.wait_for("volume", volume, volume, |volume| volume["value"]["phase"] == "mounted")?;
            let partitions = machine.apictl.list("partitions")?;
            let made = partitions.iter().find(|partition| partition["value"]["label"] == volume);
            ensure!(made.is_some_and(|made| made["value"]["content"]["format"] == format), "{partitions:?}");
        }
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
