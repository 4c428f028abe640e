//! What an operator does to the documents of a machine that is configured: patches, trials, and back again.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{
    apictl::Apictl,
    artifacts, machine,
    operator::{Operator, wait_blessed, wait_config},
    runner::Story,
    vm::{BOOT, Spec},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("documents_are_patched_tried_and_reverted_and_nothing_is_lost", story)]
}

/// `apictl`'s own exit codes (docs/apictl.md).
const REFUSED: i32 = 4;

fn story() -> Result<()> {
    machine::with(&Spec::roomy(&artifacts::test_image())?, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "node-1")?;
        let apictl = &machine.apictl;
        wait_blessed(apictl, 1)?;

        let patched = "{apiVersion: stele/v1, kind: Hostname, hostname: node-2}";
        let tried = apictl.json(&["patch", "-p", patched, "--dry-run"])?;
        let diff = tried["diff"].as_str().context("no lines that differ")?;
        ensure!(tried["revision"] == 0 && diff.contains("+hostname: node-2"), "a dry run: {tried}");
        apictl.ok(&["patch", "-p", patched, "--message", "another name"])?;
        named(apictl, "node-2")?;
        let documents = apictl.ok(&["config", "get"])?;
        ensure!(documents.contains("# What the machine calls itself."), "the comments are gone: {documents}");

        // Confirmed by itself, over a new connection.
        apictl.ok(&["patch", "-p", &patched.replace("node-2", "node-3"), "--mode", "trial"])?;
        wait_blessed(apictl, 3)?;
        // Left alone: it goes by itself.
        let brief = ["--confirm-within", "20s", "--no-confirm"];
        apictl.ok(&[&["patch", "-p", &patched.replace("node-2", "node-4")][..], &brief].concat())?;
        named(apictl, "node-4")?;
        let busy = apictl.run(&["patch", "-p", patched])?;
        let said = String::from_utf8_lossy(&busy.stderr).into_owned();
        ensure!(busy.status.code() == Some(REFUSED) && said.contains("trial"), "while one is on trial: {said}");
        named(apictl, "node-3")?;
        wait_config(apictl, "the trial to be over", |status| {
            status["revision"] == 3 && status["givenUp"].as_str().is_some_and(|why| why.contains("revision 4"))
        })?;

        apictl.ok(&["config", "revert", "1"])?;
        named(apictl, "node-1")?;
        let history = apictl.json(&["config", "history"])?;
        let current = history.as_array().into_iter().flatten().find(|revision| revision["current"] == true);
        ensure!(current.is_some_and(|revision| revision["revision"] == 1), "the history: {history}");
        ensure!(history.to_string().contains("another name"), "the message is lost: {history}");

        let audit = apictl.json(&["audit", "list", "--changes"])?;
        let applies = |entry: &&Value| entry["method"] == "/stele.v1.Config/Apply" && entry["code"] == 0;
        let count = audit.as_array().into_iter().flatten().filter(applies).count();
        ensure!(count >= 3, "{count} changes are in the audit: {audit}");
        apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT).map(drop)
    })
}

fn named(apictl: &Apictl, name: &str) -> Result<()> {
    apictl.wait_for("machine", "machine", name, |machine| machine["value"]["hostname"] == name).map(drop)
}
