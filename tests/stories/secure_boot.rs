//! The firmware trusts the key that signed the image, and no other. It starts the image as it was built, and neither one
//! whose kernel is told something else nor one without signature.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use tests::{
    artifacts::{self, Image},
    child, machine,
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Disk, Random, Spec, Vm},
};

use crate::{a_damaged_image::NOTHING_LEFT, damage};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("the_signed_image_boots_under_secure_boot_with_random_numbers_from_a_device", signed),
        Story::new("a_changed_and_an_unsigned_image_are_refused_by_secure_boot", refused),
    ]
}

fn spec(image: &Image) -> Result<Spec> {
    let trusted = Some(artifacts::certificate());
    Ok(Spec { trusted, tpm: false, random: Random::Device, ..Spec::disk(image)? })
}

fn signed() -> Result<()> {
    machine::with(&spec(&artifacts::test_image())?, |machine| {
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

fn refused() -> Result<()> {
    let image = artifacts::test_image();
    let folder = Scratch::new()?;
    let changed = folder.path().join("changed.raw");
    damage::copy(&image.raw()?, &changed, damage::another_command_line)?;
    let mut spec = spec(&image)?;
    spec.disks = vec![Disk::of(changed), Disk::of(unsigned(&image, &folder)?)];
    spec.nic = None;
    let vm = Vm::start(&spec)?;
    vm.wait_line(NOTHING_LEFT, BOOT)?;
    let denied = vm.console.count("Access Denied");
    ensure!(denied == 2, "{denied} of two images were refused:\n{}", vm.console.tail(40));
    ensure!(vm.console.line("stele:").is_none(), "one of them started:\n{}", vm.console.tail(40));
    Ok(())
}

/// A disk with the UKI, without its signature.
fn unsigned(image: &Image, folder: &Scratch) -> Result<PathBuf> {
    let (uki, raw) = (folder.path().join("unsigned.efi"), folder.path().join("unsigned.raw"));
    std::fs::copy(image.uki()?, &uki)?;
    let mut remove = child::free("sbattach");
    remove.arg("--remove").arg(&uki);
    let mut build = child::free(artifacts::imager());
    build.args(["image", "--uki"]).arg(&uki).arg("--output").arg(&raw);
    for mut command in [remove, build] {
        let output = command.output()?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(raw)
}
