//! The firmware trusts the key that signed the image, and no other. It starts the image as it was built. A loader without
//! signature is refused by the firmware itself; a system without, or one whose kernel is told something else, by the loader, which
//! starts the recovery system instead.

use std::fs;

use anyhow::{Context, Result, ensure};
use boot::state::State;
use tests::{
    artifacts, child, machine,
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Disk, Random, Spec},
};

use crate::{boot_disk::BootDisk, versions};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("the_signed_image_boots_under_secure_boot_with_random_numbers_from_a_device", signed),
        Story::new("under_secure_boot_nothing_unsigned_or_changed_starts_and_recovery_answers", refused),
    ]
}

fn spec() -> Result<Spec> {
    let trusted = Some(artifacts::certificate());
    Ok(Spec { trusted, tpm: false, random: Random::Device, ..Spec::disk(&artifacts::test_image())? })
}

fn signed() -> Result<()> {
    machine::with(&spec()?, |machine| {
        machine.apictl.wait_maintenance()?;
        let record = machine.boot_record()?;
        ensure!(record["value"]["secureBoot"] == true, "the firmware checked no signature: {record}");
        ensure!(record["value"]["source"]["via"] == "uki", "booted otherwise: {record}");
        machine.wait_drivers()?;
        let source = machine.chaos()?.call("cat /sys/class/misc/hw_random/rng_current")?;
        ensure!(source == ["virtio_rng.0"], "random numbers come from {source:?}");
        Ok(())
    })
}

/// Whoever can write to the disk can write its boot state, too: every digest in it is right.
fn refused() -> Result<()> {
    let image = artifacts::test_image();
    let (first, second) = (BootDisk::of_image()?, BootDisk::of_image()?);
    first.put("/EFI/BOOT/BOOTX64.EFI", &unsigned(&fs::read(image.loader()?)?)?)?;
    let (_, state) = second.state()?.context("the image has no boot state")?;
    let good = state.generation(1).context("no generation")?.uki.digest;
    second.remove(good.path().as_str())?;
    let (bare, changed) = (unsigned(&fs::read(image.uki()?)?)?, versions::another(1)?);
    second.set_state(&State::first(second.put_uki(&bare, Some(&bare))?, state.recovery))?;
    second.stage(&changed)?;
    let disks = [&first, &second].map(|disk| Disk { writable: true, ..Disk::of(disk.path()) });
    machine::with(&Spec { disks: disks.to_vec(), ..spec()? }, |machine| {
        let console = &machine.vm.console;
        let denied = console.count("Access Denied");
        ensure!(denied == 1, "the firmware refused {denied} loaders:\n{}", console.tail(40));
        for number in [2, 1] {
            let line = format!("generation {number} cannot be started: Secure Boot refuses it");
            machine.vm.wait_line(&line, BOOT)?;
        }
        machine.vm.wait_line("stele-loader: starting recovery", BOOT)?;
        let record = machine
            .apictl
            .wait_for("boot-record", "boot", "how it was started", |record| record["value"]["secureBoot"] == true);
        record.map(drop)
    })
}

/// A program without its signature.
fn unsigned(program: &[u8]) -> Result<Vec<u8>> {
    let folder = Scratch::new()?;
    let file = folder.path().join("program.efi");
    fs::write(&file, program)?;
    let output = child::free("sbattach").arg("--remove").arg(&file).output().context("sbattach; run `make setup`")?;
    ensure!(output.status.success(), "sbattach: {}", String::from_utf8_lossy(&output.stderr));
    Ok(fs::read(file)?)
}
