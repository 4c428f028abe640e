//! A machine boots, from disk by firmware or from kernel and initramfs, and answers over the API.

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts,
    runner::Story,
    vm::{BOOT, Spec, Vm},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("boots_from_disk_with_firmware_and_tpm_and_reboots_when_asked", disk),
        Story::new("boots_from_kernel_and_initramfs", kernel),
    ]
}

fn disk() -> Result<()> {
    let vm = Vm::boot_to(&Spec::disk(&artifacts::test_image())?, "stele: api ready")?;
    let apictl = Apictl::of(&vm)?;
    apictl.wait_maintenance()?;
    let before = apictl.get("boot-record", "this")?;
    apictl.ok(&["reboot", "--reason", "because the story says so"])?;
    apictl.wait_maintenance()?;
    let after = apictl.get("boot-record", "this")?;
    ensure!(before["value"]["boot_id"] != after["value"]["boot_id"], "the machine did not reboot: {after}");
    ensure!(after.to_string().contains("because the story says so"), "the reason was forgotten: {after}");
    let mut vm = vm;
    apictl.ok(&["shutdown", "--no-wait"])?;
    vm.wait_off(BOOT)?;
    Ok(())
}

fn kernel() -> Result<()> {
    let vm = Vm::boot_to(&Spec::kernel(&artifacts::test_image()), "stele: api ready")?;
    let apictl = Apictl::of(&vm)?;
    apictl.wait_maintenance()?;
    let version = apictl.json(&["version"])?;
    ensure!(version.to_string().contains("kernel"), "no kernel version: {version}");
    Ok(())
}
