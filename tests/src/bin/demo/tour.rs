//! What the demonstration shows: a machine without configuration, recognised by the fingerprint on its console; the operator's
//! three commands; then the machine that came of it, before and after a reboot.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    child,
    operator::wait_config,
    vm::{BOOT, Vm},
    wait,
};

/// What a stranger may ask in maintenance.
const BEFORE: &[&[&str]] = &[&["version"], &["get", "disks"]];

/// The machine as it was meant to be.
const AFTER: &[&[&str]] = &[
    &["health"],
    &["services"],
    &["get", "config-statuses"],
    &["get", "volumes"],
    &["get", "certificates"],
    &["get", "addresses"],
    &["config", "history"],
    &["get", "generations"],
    &["logs", "gateway", "--tail", "5"],
];

/// The last three: a reboot, and what the machine knows and is afterwards.
const REBOOT: &[&str] = &["reboot", "--reason", "shown in the demo"];
const RECORD: &[&str] = &["get", "boot-record"];
const KEPT: &[&str] = &["get", "config-statuses"];

/// A document of the operator's own, beside those that `gen config` makes.
const TUNE: &str = "apiVersion: stele/v1\nkind: Sysctl\nname: tune\nsettings:\n  vm.swappiness: \"10\"\n";

/// Shows it all. What the operator makes is in `folder`.
pub(crate) fn show(vm: &Vm, out: &Path, folder: &Path) -> Result<()> {
    let start = Instant::now();
    println!("==> booting: UEFI firmware, TPM, one disk; its console is {}", out.join("demo/serial.log").display());
    for milestone in ["stele: init started", "stele: fingerprint", "stele: api ready"] {
        let line = vm.wait_line(milestone, BOOT)?;
        println!("    {:5.1} s  {line}", start.elapsed().as_secs_f32());
    }
    let mut apictl = Apictl::of(vm)?;
    apictl.wait_maintenance()?;
    println!("\n==> it has no configuration: asking what anybody may, over TLS, pinned by that fingerprint");
    BEFORE.iter().try_for_each(|question| ask(&apictl, question))?;

    println!("\n==> configuring it");
    fs::create_dir_all(folder)?;
    let place = |name: &str| folder.join(name).display().to_string();
    let (secrets, documents) = (place("secrets.yaml"), place("node-1"));
    ask(&apictl, &["gen", "secrets", "-o", &secrets])?;
    ask(&apictl, &["gen", "config", "--secrets", &secrets, "--hostname", "node-1", "-o", &documents])?;
    fs::write(folder.join("node-1/tune.yaml"), TUNE)?;
    println!("\n$ cat {}\n{TUNE}", place("node-1/tune.yaml"));
    apictl.use_context();
    ask(&apictl, &["apply-config", "-f", &documents, "--secrets", &secrets])?;
    println!("\n==> from now on it lets nobody in without a certificate");
    AFTER.iter().try_for_each(|question| ask(&apictl, question))?;

    println!("\n==> it keeps all of it");
    ask(&apictl, REBOOT)?;
    // The record tells at once what costs nothing to know, and how the last boot ended a little later.
    apictl.wait_for("boot-record", "boot", "the boot record to be whole", |record| {
        record["value"]["last"]["ended"] == "reboot"
    })?;
    ask(&apictl, RECORD)?;
    wait_config(&apictl, "the configuration to be proven again", |status| status["state"] == "blessed")?;
    ask(&apictl, KEPT)
}

/// Shows a command and what it prints.
fn ask(apictl: &Apictl, question: &[&str]) -> Result<()> {
    let words: Vec<_> =
        question.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).into() }).collect();
    println!("\n$ apictl {}", words.join(" "));
    let mut child = child::spawn(apictl.command(question))?;
    let status = wait::until("apictl", BOOT + Duration::from_secs(60), || child.try_wait().transpose())??;
    ensure!(status.success(), "apictl {}: {status}", words.join(" "));
    Ok(())
}
