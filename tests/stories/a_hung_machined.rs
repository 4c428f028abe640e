//! machined hangs. init notices that its heart does not beat, kills it and starts it again; no service notices, and no line
//! of a log is lost.

use anyhow::{Result, ensure};
use tests::{runner::Story, vm::BOOT};

use crate::{shared::MACHINE, steady};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_hung_machined_is_killed_and_started_again", story)]
}

fn story() -> Result<()> {
    MACHINE.with(|machine| {
        machine.apictl.wait_maintenance()?;
        let before = machine.pids()?;
        let line = steady::last(machine)?;
        let mark = machine.vm.console.len();
        let hung = machine.chaos()?.kill("machined", "STOP")?;
        machine.vm.wait_line_after("machined hangs: no heartbeat", mark, BOOT)?;
        machine.wait_api()?;
        machine.apictl.wait_maintenance()?;
        ensure!(machine.pids()? == before, "services were started again: {before:?}, now {:?}", machine.pids()?);
        ensure!(machine.chaos()?.pids("machined")? != hung, "it is still the hung one");
        steady::kept_since(machine, line)
    })
}
