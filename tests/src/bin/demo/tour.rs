//! What the demonstration shows: the fingerprint on the console, then questions over TLS, then a reboot.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    child,
    vm::{BOOT, Vm},
    wait,
};

/// The questions, in the order a newcomer would ask them.
const QUESTIONS: &[&[&str]] = &[
    &["version"],
    &["health"],
    &["services"],
    &["get", "disks"],
    &["get", "links"],
    &["get", "addresses"],
    &["logs", "gateway", "--tail", "5"],
    &["dmesg", "--tail", "5"],
];

/// The last two: a reboot, and what the machine knows of it afterwards.
const REBOOT: &[&str] = &["reboot", "--reason", "shown in the demo"];
const RECORD: &[&str] = &["get", "boot-record"];

/// Shows it all, and returns the machine's fingerprint.
pub(crate) fn show(vm: &Vm, out: &Path) -> Result<String> {
    let start = Instant::now();
    println!("==> booting: UEFI firmware, TPM, one disk; its console is {}", out.join("demo/serial.log").display());
    for milestone in ["stele: init started", "stele: fingerprint", "stele: api ready"] {
        let line = vm.wait_line(milestone, BOOT)?;
        println!("    {:5.1} s  {line}", start.elapsed().as_secs_f32());
    }
    let apictl = Apictl::of(vm)?;
    apictl.wait_maintenance()?;
    println!("\n==> asking it over TLS, pinned by that fingerprint");
    QUESTIONS.iter().try_for_each(|question| ask(&apictl, question))?;
    ask(&apictl, REBOOT)?;
    // The record tells at once what costs nothing to know, and how the last boot ended a little later.
    apictl.wait_for("boot-record", "boot", "the boot record to be whole", |record| {
        record["value"]["last"]["ended"] == "reboot"
    })?;
    ask(&apictl, RECORD)?;
    Ok(apictl.fingerprint().to_owned())
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
