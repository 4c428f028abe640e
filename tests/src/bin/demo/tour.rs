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
    &["reboot", "--reason", "shown in the demo"],
    &["get", "boot-record"],
];

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
    for question in QUESTIONS {
        println!("\n$ apictl {}", question.join(" "));
        let mut child = child::spawn(apictl.command(question))?;
        let status = wait::until("apictl", BOOT + Duration::from_secs(60), || child.try_wait().transpose())??;
        ensure!(status.success(), "apictl {}: {status}", question.join(" "));
    }
    Ok(apictl.fingerprint().to_owned())
}
