//! A configured machine through bad days, on one disk: a trial that cuts the operator off and goes by itself, with a reboot in
//! between and without; a STATE that is full; two hundred documents at once; and the newest revision damaged on the disk.

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts, machine,
    machine::Machine,
    operator::{Operator, wait_blessed, wait_config},
    runner::Story,
    vm::Spec,
};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("trials_that_cut_the_operator_off_go_by_themselves_and_damaged_revisions_fall_back", story),
        Story::long("a_thousand_applies_leave_machined_no_larger", a_thousand),
    ]
}

/// The API may be used from a network that is not the emulator's.
const CUT_OFF: &str = "apiVersion: stele/v1\nkind: Api\nallow: [192.0.2.0/24]\n";

fn story() -> Result<()> {
    machine::with(&Spec::roomy_kernel(&artifacts::test_image())?, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "node-1")?;
        wait_blessed(&machine.apictl, 1)?;
        cut_off(&machine.apictl)?;
        cut_off_and_rebooted(machine)?;
        two_hundred(&machine.apictl, &operator)?;
        full(machine, &operator)?;
        damaged(machine)
    })
}

/// Patches the documents so that nobody can come any more, on trial, and does not wait.
fn cut_off_on_trial(apictl: &Apictl, within: &str) -> Result<()> {
    let asked = apictl.run(&[
        "patch",
        "-p",
        CUT_OFF,
        "--mode",
        "trial",
        "--confirm-within",
        within,
        "--no-confirm",
        "--no-wait",
    ])?;
    ensure!(asked.status.success(), "the trial: {}", String::from_utf8_lossy(&asked.stderr));
    Ok(())
}

fn back(apictl: &Apictl, what: &str) -> Result<()> {
    // An accepted trial is shown before it begins, while the revision it is tried against is in effect.
    let status = wait_config(apictl, what, |status| {
        status["state"] == "blessed" && status["revision"] == 1 && status["trial"].is_null()
    })?;
    let why = status["value"]["givenUp"].to_string();
    ensure!(why.contains("trial"), "it does not say why it went back: {status}");
    Ok(())
}

fn cut_off(apictl: &Apictl) -> Result<()> {
    cut_off_on_trial(apictl, "20s")?;
    back(apictl, "the trial to go by itself")
}

/// The machine is switched off and on in the middle of it.
fn cut_off_and_rebooted(machine: &Machine) -> Result<()> {
    let apictl = &machine.apictl;
    let mark = machine.vm.console.len();
    cut_off_on_trial(apictl, "60s")?;
    machine.vm.qmp.ctrl_alt_del()?;
    machine.vm.wait_line_after("stele: init started", mark, tests::vm::BOOT)?;
    back(apictl, "the trial to go by itself after the reboot")
}

fn two_hundred(apictl: &Apictl, operator: &Operator) -> Result<()> {
    for n in 0..200 {
        let host = format!("kind: StaticHost\nname: host-{n}.example\naddresses: [192.0.2.{}]\n", n % 250 + 1);
        operator.write(&format!("host-{n}"), &host)?;
    }
    operator.apply(apictl, &[])?;
    let status = wait_config(apictl, "two hundred documents", |status| status["state"] == "blessed")?;
    ensure!(apictl.list("documents")?.len() > 200, "not all documents are in effect: {status}");
    Ok(())
}

/// No room for another revision: said, and nothing is lost; going back needs none.
fn full(machine: &Machine, operator: &Operator) -> Result<()> {
    let apictl = &machine.apictl;
    let mut chaos = machine.chaos()?;
    chaos.call("fill /run/stele/state/junk")?;
    operator.write("one-more", "kind: StaticHost\nname: one-more.example\naddresses: [192.0.2.1]\n")?;
    let (secrets, documents) = (operator.secrets(), operator.documents());
    let refused = apictl.run(&["apply-config", "-f", &documents, "--secrets", &secrets])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("full"), "a full STATE: {}: {said}", refused.status);
    apictl.ok(&["config", "revert", "1"])?;
    wait_blessed(apictl, 1)?;
    chaos.call("remove /run/stele/state/junk")?;
    operator.apply(apictl, &[])?;
    wait_config(apictl, "room again", |status| status["state"] == "blessed" && status["revision"] != 1).map(drop)
}

/// Then the next machined runs the one that was proven before.
fn damaged(machine: &Machine) -> Result<()> {
    let apictl = &machine.apictl;
    let newest = apictl.get("config-status", "config")?["value"]["revision"].as_u64().unwrap_or_default();
    let mut chaos = machine.chaos()?;
    chaos.call(&format!("write /run/stele/state/revisions/{newest:08}/documents.yaml torn"))?;
    chaos.call("kill machined KILL")?;
    let status = wait_config(apictl, "the revision before it", |status| {
        status["state"] == "blessed" && status["revision"].as_u64().is_some_and(|now| now != newest)
    })?;
    ensure!(status["value"]["givenUp"].to_string().contains("damaged"), "it does not say why: {status}");
    Ok(())
}

fn a_thousand() -> Result<()> {
    machine::with(&Spec::roomy_kernel(&artifacts::test_image())?, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "node-1")?;
        let apictl = &machine.apictl;
        wait_blessed(apictl, 1)?;
        let resident = |apictl: &Apictl| -> Result<u64> {
            let all = apictl.list("processes")?;
            let machined = all.iter().find(|process| process["value"]["name"] == "machined");
            machined
                .and_then(|found| found["value"]["rssBytes"].as_u64())
                .ok_or_else(|| anyhow::anyhow!("no machined: {all:?}"))
        };
        let apply = |from: u32, to: u32| -> Result<()> {
            (from..to).try_for_each(|n| {
                let host = format!("kind: StaticHost\nname: host.example\naddresses: [192.0.2.{}]\n", n % 250 + 1);
                operator.write("host", &host)?;
                operator.apply(apictl, &["--no-wait"]).map(drop)
            })
        };
        // What is allocated once is there after a hundred.
        apply(0, 100)?;
        let before = resident(apictl)?;
        apply(100, 1100)?;
        let after = resident(apictl)?;
        ensure!(after < before + before / 4, "machined grew from {before} to {after} bytes");
        Ok(())
    })
}
