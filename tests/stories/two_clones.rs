//! Two disks hold the same image, with the same partition GUIDs. The machine does not guess which one it runs from: it
//! names both, writes to neither, and its API is up.

use anyhow::{Result, ensure};
use tests::{
    artifacts, machine,
    runner::Story,
    vm::{Disk, Spec},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("two_disks_with_the_same_image_are_an_error_that_names_both", story)]
}

fn story() -> Result<()> {
    let mut spec = Spec::disk(&artifacts::test_image())?;
    spec.disks.push(Disk::of(artifacts::test_image().raw()?));
    spec.tpm = false;
    machine::with(&spec, |machine| {
        let disk = machine.apictl.wait_for("system-disk", "system-disk", "both disks to be named", |disk| {
            disk["value"]["state"] == "ambiguous"
        })?;
        let reason = disk["value"]["reason"].as_str().unwrap_or_default().to_owned();
        ensure!(reason.contains("vda") && reason.contains("vdb"), "not both are named: {reason}");
        ensure!(disk["value"]["guids"] != "unique", "it wrote to one of them: {disk}");
        let status = machine.apictl.wait_for("machine", "machine", "the machine to say it", |status| {
            status["value"]["unmet"].to_string().contains("vdb")
        })?;
        ensure!(status["value"]["unmet"].to_string().contains("vda"), "not both are named: {status}");
        let health = machine.apictl.run(&["health"])?;
        ensure!(health.status.code() == Some(7), "apictl health calls that {}", health.status);
        Ok(())
    })
}
