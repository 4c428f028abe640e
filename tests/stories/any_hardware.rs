//! With the kernel for any hardware a machine boots from a USB stick and reaches the network over an Intel card.

use anyhow::{Result, ensure};
use tests::{
    artifacts, machine,
    runner::Story,
    vm::{Bus, Disk, Nic, Spec},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("the_kernel_for_any_hardware_boots_from_a_usb_stick_and_drives_an_e1000e", story)]
}

fn story() -> Result<()> {
    let image = artifacts::generic_test_image();
    let mut spec = Spec::disk(&image)?;
    spec.disks = vec![Disk { bus: Bus::Usb, ..Disk::of(image.raw()?) }];
    spec.nic = Some(Nic { model: "e1000e".into(), cable: true });
    spec.tpm = false;
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        let links = machine.apictl.list("links")?;
        ensure!(links.iter().any(|link| link["value"]["driver"] == "e1000e"), "no link of e1000e: {links:?}");
        machine
            .apictl
            .wait_for("system-disk", "system-disk", "the USB stick", |disk| disk["value"]["disk"] == "sda")
            .map(drop)
    })
}
