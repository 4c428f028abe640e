//! A service leaves orphans behind. init reaps them all, and ends none of them too early.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{runner::Story, wait};

use crate::shared::MACHINE;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("orphans_of_a_service_are_reaped", story)]
}

fn story() -> Result<()> {
    MACHINE.with(|machine| {
        machine.apictl.wait_maintenance()?;
        let mut chaos = machine.chaos()?;
        chaos.call("tell fork")?;
        machine
            .apictl
            .follow(&["logs", "fork", "--follow"])?
            .wait_line("twenty orphans", |line| line.contains("left orphan 20 behind"))?;
        chaos.call("hush fork")?;
        let pid = machine.apictl.get("service", "fork")?["value"]["pid"].to_string();
        chaos.kill(&pid, "KILL")?;
        let mut left = Vec::new();
        let reaped = wait::until("all orphans to be reaped", Duration::from_secs(30), || {
            left = chaos.call("zombies").ok()?;
            left.is_empty().then_some(())
        });
        ensure!(reaped.is_ok(), "not reaped: {left:?}");
        Ok(())
    })
}
