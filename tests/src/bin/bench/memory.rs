//! Memory in use on an idle machine, and the share of each of our processes.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::{
    apictl::Apictl,
    artifacts,
    vm::{BOOT, Spec, Vm},
    wait,
};

use crate::boots::field;

/// How long a booted machine is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(20);

/// Kibibytes on an idle machine of 1 GiB.
pub(crate) struct Figure {
    pub(crate) kernel: String,
    /// MemTotal less MemAvailable.
    pub(crate) used: u64,
    pub(crate) baseline: u64,
    /// Name and proportional set size of each of our processes.
    pub(crate) processes: Vec<(String, u64)>,
}

/// Boots both by kernel and initramfs and asks.
pub(crate) fn measure(kernel: &str) -> Result<Figure> {
    eprintln!("==> memory, {kernel} kernel");
    let vm = Vm::boot_to(&Spec::kernel(&artifacts::baseline_image(kernel)), "stele: api ready")?;
    let baseline = field(&vm.wait_line("stele: api ready", BOOT)?, "memory_kib")?;
    drop(vm);
    let vm = Vm::boot_to(&Spec::kernel(&artifacts::product_image(kernel)), "stele: api ready")?;
    let apictl = Apictl::of(&vm)?;
    apictl.wait_maintenance()?;
    apictl
        .wait_for("coldplug", "coldplug", "all drivers to be loaded", |coldplug| coldplug["value"]["stage"] == "all")?;
    wait::pause(SETTLE);
    let memory = apictl.get("memory", "memory")?;
    let number = |name: &str| memory["value"][name].as_u64().with_context(|| format!("no {name} in {memory}"));
    let used = number("usedBytes")? / 1024;
    let mut processes = Vec::new();
    for process in apictl.list("processes")? {
        let name = process["value"]["name"].as_str().unwrap_or_default().to_owned();
        if matches!(&*name, "init" | "machined" | "gateway") {
            processes.push((name, process["value"]["pssBytes"].as_u64().context("a process without pssBytes")? / 1024));
        }
    }
    Ok(Figure { kernel: kernel.into(), used, baseline, processes })
}
