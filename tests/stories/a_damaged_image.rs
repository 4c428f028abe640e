//! The image on the disk is cut short. The firmware refuses to start it and says so; nothing of ours ever runs.

use anyhow::{Context, Result, ensure};
use tests::{
    artifacts,
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Disk, Spec, Vm},
    wait,
};

use crate::damage;

/// What firmware that has tried everything there is says last, or starts last: a shell of its own, where it has one.
const LAST: [&str; 2] = [NOTHING_LEFT, "UEFI Interactive Shell"];

/// What it says without a shell.
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
    let last = || LAST.iter().find_map(|line| vm.console.line(line));
    wait::until("the firmware to give up", BOOT, last).with_context(|| vm.console.tail(40))?;
    ensure!(vm.console.line("stele:").is_none(), "it started:\n{}", vm.console.tail(40));
    Ok(())
}
