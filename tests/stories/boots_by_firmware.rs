//! A machine with UEFI firmware and a TPM boots from its disk, is asked, reboots, remembers why, and switches itself off.

use anyhow::{Result, ensure};
use tests::{
    artifacts, machine,
    runner::Story,
    vm::{BOOT, Spec},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("boots_from_disk_with_firmware_and_tpm_and_reboots_when_asked", story)]
}

fn story() -> Result<()> {
    machine::with(&Spec::disk(&artifacts::test_image())?, |machine| {
        let apictl = &machine.apictl;
        apictl.wait_maintenance()?;
        let before = machine.boot_record()?;
        let record = &before["value"];
        ensure!(record["source"]["via"] == "uki" && record["tpm"] == true, "not by firmware with a TPM: {before}");
        ensure!(record["last"]["ended"] == "none", "a fresh disk remembers a boot: {before}");
        machine.wait_system_disk()?;

        let asked = apictl.run(&["reboot", "--reason", "because the story says so"])?;
        let said = String::from_utf8_lossy(&asked.stderr).into_owned();
        ensure!(asked.status.success(), "reboot: {}: {said}", asked.status);
        for phase in ["stopping", "maintenance"] {
            ensure!(said.contains(phase), "apictl did not show the phase {phase}: {said}");
        }

        let after = machine.boot_record()?;
        let record = &after["value"];
        ensure!(before["value"]["bootId"] != record["bootId"], "the machine did not reboot: {after}");
        let last = &record["last"];
        ensure!(last["ended"] == "reboot" && last["bootId"] == before["value"]["bootId"], "not remembered: {after}");
        ensure!(last["reason"].to_string().contains("because the story says so"), "the reason is gone: {after}");
        let log = apictl.ok(&["logs", "last-boot"])?;
        ensure!(log.contains("because the story says so"), "the end of the last boot's log is not kept: {log}");

        apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT).map(drop)
    })
}
