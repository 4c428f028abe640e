//! Who did what on a configured machine, and who was refused, stands in its audit: while machined is killed, over a reboot and
//! a power cut. The chain holds from the first record on, and the head that was kept at the workstation is met again.

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{
    apictl::Apictl,
    artifacts, machine,
    machine::Machine,
    operator::{Operator, wait_blessed},
    runner::Story,
    vm::{BOOT, Spec},
    wait,
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("the_audit_knows_who_did_what_through_a_kill_a_reboot_and_a_power_cut", story)]
}

fn story() -> Result<()> {
    machine::with(&Spec::roomy(&artifacts::test_image())?, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "node-1")?;
        wait_blessed(&machine.apictl, 1)?;
        let api = machine.apictl.get("certificate", "api")?["value"].clone();
        ensure!(api["validity"] == "valid" && api["names"].to_string().contains("node-1"), "its certificate: {api}");
        reader(&machine.apictl, &operator)?;
        rescue(machine, &operator)?;
        // Reads, and what was refused, are written every few seconds.
        let apictl = &machine.apictl;
        let both = ["/stele.v1.Machine/Reboot", "/stele.v1.Machine/Version"];
        wait::until("the reader's calls in the audit", BOOT, || {
            let listed = apictl.json(&["audit", "list"]).ok()?;
            both.iter().all(|what| has(&listed, "alice", what)).then_some(())
        })?;

        let heads = operator.path("heads.yaml");
        let keep = ["audit", "verify", "--kept", &heads, "--update"];
        machine.apictl.ok(&["audit", "head", "--keep", &heads])?;
        machine.chaos()?.kill("machined", "KILL")?;
        machine.wait_api()?;
        machine.apictl.ok(&keep)?;

        machine.apictl.ok(&["reboot", "--reason", "to see whether the audit is kept"])?;
        machine.apictl.ok(&keep)?;

        let mark = machine.vm.console.len();
        machine.vm.qmp.reset()?;
        machine.vm.wait_line_after("stele: api ready", mark, BOOT)?;
        machine.apictl.ok(&keep)?;
        known(&machine.apictl)?;
        machine.apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT).map(drop)
    })
}

/// A certificate of its own, in a file.
fn certificate(apictl: &Apictl, operator: &Operator, name: &str, more: &[&str]) -> Result<String> {
    let secrets = if more.contains(&"--rescue") { operator.rescue() } else { operator.secrets() };
    let path = operator.path(&format!("{name}.pem"));
    apictl.ok(&[&["cert", "new", "--secrets", &secrets, "--name", name, "--out", &path], more].concat())?;
    Ok(path)
}

/// May look, and nothing else; is told what it would take.
fn reader(apictl: &Apictl, operator: &Operator) -> Result<()> {
    let alice = certificate(apictl, operator, "alice", &["--role", "reader"])?;
    apictl.ok(&["--client-cert", &alice, "version"])?;
    apictl.ok(&["--client-cert", &alice, "config", "get"])?;
    for (arguments, needs) in [(["reboot", "--no-wait"], "stele:operator"), (["audit", "head"], "stele:admin")] {
        let asked = apictl.run(&[&["--client-cert", &alice], &arguments[..]].concat())?;
        let said = String::from_utf8_lossy(&asked.stderr);
        ensure!(!asked.status.success() && said.contains(needs), "a reader, {arguments:?}: {said}");
    }
    Ok(())
}

/// Is let in, and everybody hears of it.
fn rescue(machine: &Machine, operator: &Operator) -> Result<()> {
    let rescue = certificate(&machine.apictl, operator, "rescuer", &["--rescue"])?;
    machine.apictl.ok(&["--client-cert", &rescue, "version"])?;
    machine.vm.wait_line("RESCUE: CN=rescuer", BOOT).map(drop)
}

/// All of them, each with what came of it.
fn known(apictl: &Apictl) -> Result<()> {
    let verified = apictl.json(&["audit", "verify"])?;
    ensure!(verified[0]["whole"] == true, "the audit: {verified}");
    let listed = apictl.json(&["audit", "list"])?;
    for (who, what) in [
        ("alice", "/stele.v1.Machine/Reboot"),
        ("alice", "/stele.v1.Machine/Version"),
        ("rescuer", "/stele.v1.Machine/Version"),
        ("", "/stele.v1.Config/Apply"),
        ("", "/stele.v1.Machine/Reboot"),
    ] {
        ensure!(has(&listed, who, what), "{who:?} and {what} are not in the audit: {listed}");
    }
    Ok(())
}

/// Whether one of the records is of this caller and this method.
fn has(listed: &Value, who: &str, what: &str) -> bool {
    let records = listed.as_array().into_iter().flatten().map(Value::to_string);
    records.into_iter().any(|record| record.contains(who) && record.contains(what))
}
