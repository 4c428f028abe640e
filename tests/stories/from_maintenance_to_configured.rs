//! The main job: a machine boots without configuration; the operator makes secrets and documents and applies them; the
//! machine makes its disks, lets nobody in without a certificate any more, shows its state, is rebooted and kept it all.

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts, machine,
    operator::{Operator, wait_blessed, wait_config},
    runner::Story,
    vm::{BOOT, Spec},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("from_maintenance_to_configured_and_rebooted", story)]
}

fn story() -> Result<()> {
    machine::with(&Spec::roomy(&artifacts::test_image())?, |machine| {
        machine.apictl.wait_maintenance()?;
        let stranger = Apictl::of(&machine.vm)?;
        let operator = Operator::new(machine)?;

        // Nothing is taken that would lock everybody out, and nothing is made for it.
        operator.generate(machine, "node-1")?;
        operator.write("wrong", "kind: Sysctl\nname: x\nsettings: { vm.swappiness: 10 }\nsetings: {}\n")?;
        let wrong =
            machine.apictl.run(&["apply-config", "-f", &operator.documents(), "--secrets", &operator.secrets()])?;
        let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
        ensure!(!wrong.status.success() && said.contains("setings"), "a document that is wrong: {said}");
        operator.remove("wrong")?;

        operator.write("tune", "kind: Sysctl\nname: tune\nsettings: { vm.swappiness: \"10\" }\n")?;
        operator.configure(machine, "node-1")?;
        let apictl = &machine.apictl;
        wait_blessed(apictl, 1)?;
        let asked = stranger.run(&["version"])?;
        ensure!(!asked.status.success(), "a stranger is still let in");
        let shown = |apictl: &Apictl| -> Result<()> {
            apictl.wait_for("machine", "machine", "the machine to run", |machine| {
                machine["value"]["phase"] == "running" && machine["value"]["hostname"] == "node-1"
            })?;
            for volume in ["STATE", "EPHEMERAL"] {
                apictl.wait_for("volume", volume, volume, |volume| volume["value"]["phase"] == "mounted")?;
            }
            apictl.wait_for("sysctl", "vm.swappiness", "the sysctl", |sysctl| sysctl["value"]["value"] == "10")?;
            Ok(())
        };
        shown(apictl)?;
        let history = apictl.json(&["config", "history"])?;
        ensure!(history.to_string().contains("blessed"), "the history does not say what is proven: {history}");

        let rebooted = apictl.run(&["reboot", "--reason", "to see whether it keeps it"])?;
        let said = String::from_utf8_lossy(&rebooted.stderr).into_owned();
        ensure!(rebooted.status.success() && said.contains("running"), "reboot: {}: {said}", rebooted.status);
        shown(apictl)?;
        wait_config(apictl, "the configuration to be proven again", |status| status["state"] == "blessed")?;
        ensure!(!stranger.run(&["version"])?.status.success(), "a stranger is let in after the reboot");

        apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT).map(drop)
    })
}
