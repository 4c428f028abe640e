//! The kernel panics. The machine comes back by itself and knows that the last boot did not end well.

use anyhow::{Result, ensure};
use tests::{machine, runner::Story, vm::BOOT};

use crate::shared;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("after_a_kernel_panic_the_machine_comes_back_by_itself", story)]
}

fn story() -> Result<()> {
    machine::with(&shared::spec()?, |machine| {
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
        // Without a place that survives a panic (ERST, ramoops) only the missing farewell is known.
        ensure!(last["ended"] == "unclean" || last["ended"] == "panic", "a panic looks like a good end: {record}");
        Ok(())
    })
}
