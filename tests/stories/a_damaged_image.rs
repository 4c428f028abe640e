//! The image on the disk is cut short. The firmware refuses to start it and says so; nothing of ours ever runs.

use anyhow::{Result, ensure};
use tests::{
    artifacts,
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Disk, Spec, Vm},
};

use crate::damage;

/// The firmware has tried everything there is.
pub(crate) const NOTHING_LEFT: &str = "BdsDxe: No bootable option or device was found";

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_truncated_image_is_refused_by_the_firmware", story)]
}

fn story() -> Result<()> {
    let image = artifacts::test_image();
    let folder = Scratch::new()?;
    let raw = folder.path().join("truncated.raw");
    damage::copy(&image.raw()?, &raw, damage::truncated)?;
    let mut spec = Spec::disk(&image)?;
    spec.disks = vec![Disk::of(&raw)];
    (spec.tpm, spec.nic) = (false, None);
    let vm = Vm::start(&spec)?;
    let line = vm.wait_line("BdsDxe: failed to", BOOT)?;
    eprintln!("the firmware says: {line}");
    // It goes on to look elsewhere; nothing of ours may appear.
    vm.wait_line(NOTHING_LEFT, BOOT)?;
    ensure!(vm.console.line("stele:").is_none(), "it started:\n{}", vm.console.tail(40));
    Ok(())
}
