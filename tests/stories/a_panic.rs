//! The kernel panics. The machine comes back by itself, knows that the last boot ended so, and shows what the kernel said
//! last: the firmware kept it (ACPI ERST, which is pstore to the kernel).

use anyhow::{Result, ensure};
use tests::{machine, runner::Story, vm::BOOT};

use crate::shared;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("after_a_kernel_panic_the_machine_comes_back_by_itself", story)]
}

fn story() -> Result<()> {
    let mut spec = shared::spec()?;
    spec.extra =
        ["-object", "memory-backend-ram,id=kept,size=64K", "-device", "acpi-erst,memdev=kept"].map(Into::into).into();
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        let before = machine.boot_record()?;
        let mark = machine.vm.console.len();
        machine.chaos()?.last_words("panic")?;
        machine.vm.wait_line_after("Kernel panic", mark, BOOT)?;
        machine.vm.wait_line_after("stele: api ready", mark, BOOT)?;
        machine.apictl.wait_maintenance()?;
        let record = machine.boot_record()?;
        let last = &record["value"]["last"];
        ensure!(last["bootId"] == before["value"]["bootId"], "another boot is remembered: {record}");
        ensure!(last["ended"] == "panic", "not a panic: {record}");
        ensure!(last["reason"].to_string().contains("sysrq triggered crash"), "it is not said which: {record}");
        ensure!(last["crashRecords"].as_array().is_some_and(|all| !all.is_empty()), "no crash record: {record}");
        let said = machine.apictl.ok(&["logs", "pstore"])?;
        ensure!(said.contains("Kernel panic") && said.contains("Call Trace"), "not what the kernel said last: {said}");
        let kept = machine.chaos()?.call("ls /sys/fs/pstore")?;
        ensure!(kept.is_empty(), "shown again at the next boot: {kept:?}");
        Ok(())
    })
}
