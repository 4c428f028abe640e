//! The loader on the disk is cut short. The firmware refuses to start it and says so; nothing of ours ever runs. (What becomes of
//! a damaged UKI is told in `generations` and `loader`.)

use anyhow::{Context, Result, ensure};
use tests::{
    artifacts,
    runner::Story,
    vm::{BOOT, Vm},
    wait,
};

use crate::boot_disk::BootDisk;

/// What firmware that has tried everything there is says last, or starts last: a shell of its own, where it has one.
const LAST: [&str; 2] = [NOTHING_LEFT, "UEFI Interactive Shell"];

/// What it says without a shell.
const NOTHING_LEFT: &str = "BdsDxe: No bootable option or device was found";

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_truncated_loader_is_refused_by_the_firmware", story)]
}

fn story() -> Result<()> {
    let disk = BootDisk::of_image()?;
    let loader = std::fs::read(artifacts::test_image().loader()?)?;
    disk.put("/EFI/BOOT/BOOTX64.EFI", &loader[..loader.len() / 2])?;
    let vm = Vm::start(&disk.spec()?)?;
    let line = vm.wait_line("BdsDxe: failed to", BOOT)?;
    eprintln!("the firmware says: {line}");
    // It goes on to look elsewhere; nothing of ours may appear.
    let last = || LAST.iter().find_map(|line| vm.console.line(line));
    wait::until("the firmware to give up", BOOT, last).with_context(|| vm.console.tail(40))?;
    ensure!(vm.console.line("stele").is_none(), "it started:\n{}", vm.console.tail(40));
    Ok(())
}
