//! A machine boots from kernel and initramfs alone, without firmware, TPM and disk.

use anyhow::{Result, ensure};
use tests::{artifacts, machine, runner::Story, vm::Spec};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("boots_from_kernel_and_initramfs_without_any_disk", story),
        Story::long("boots_from_kernel_and_initramfs_thirty_times", || (0..30).try_for_each(|_| story())),
    ]
}

fn story() -> Result<()> {
    machine::with(&Spec::kernel(&artifacts::test_image()), |machine| {
        let apictl = &machine.apictl;
        apictl.wait_maintenance()?;
        let version = apictl.json(&["version"])?;
        ensure!(version.to_string().contains("cloud-amd64"), "no kernel version: {version}");
        let record = apictl.get("boot-record", "boot")?;
        ensure!(record["value"]["source"]["via"] == "kernel", "booted otherwise: {record}");
        let disk = apictl.get("system-disk", "system-disk")?;
        ensure!(disk["value"]["state"] == "none", "a system disk without any: {disk}");
        ensure!(apictl.run(&["health"])?.status.success(), "not healthy: {}", apictl.get("machine", "machine")?);
        Ok(())
    })
}
