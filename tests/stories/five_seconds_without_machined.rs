//! For five seconds there is no machined at all: services run on, and no line of a log is lost, since its pipe bridges them.

use anyhow::{Result, ensure};
use tests::runner::Story;

use crate::{shared::MACHINE, steady};

/// Lines that `steady` writes in five seconds, at ten a second, with room for a guest that is not always let run.
const WRITTEN: u64 = 20;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("five_seconds_without_a_machined_cost_no_line_of_a_log", story)]
}

fn story() -> Result<()> {
    MACHINE.with(|machine| {
        machine.apictl.wait_maintenance()?;
        let before = machine.pids()?;
        let line = steady::last(machine)?;
        // Each machined that init starts meanwhile is killed in its first milliseconds, by the guest's own clock.
        machine.chaos()?.call("away machined 5000")?;
        machine.wait_api()?;
        machine.apictl.wait_maintenance()?;
        ensure!(machine.pids()? == before, "services were started again: {before:?}, {:?}", machine.pids()?);
        let after = steady::last(machine)?;
        ensure!(after >= line + WRITTEN, "steady wrote only lines {line} to {after}: it did not run on");
        steady::kept_since(machine, line)
    })
}
