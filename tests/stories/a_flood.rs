//! A service floods its log. Others are still answered, memory stays bounded, and what is cut is counted and said.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{runner::Story, wait};

use crate::shared::MACHINE;

/// How long it floods before anybody looks.
const FLOOD: Duration = Duration::from_secs(15);

/// machined's cgroup is cut off at this; it must not get near.
const MACHINED: u64 = 128 << 20;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_service_that_floods_its_log_harms_nobody_and_its_loss_is_told", story)]
}

fn story() -> Result<()> {
    MACHINE.with(|machine| {
        let apictl = &machine.apictl;
        apictl.wait_maintenance()?;
        let mut chaos = machine.chaos()?;
        chaos.call("tell flood")?;
        apictl
            .follow(&["logs", "flood", "--follow", "--tail", "1"])?
            .wait_line("the flood", |line| line.starts_with("flood 0"))?;
        wait::pause(FLOOD);

        let start = Instant::now();
        apictl.ok(&["services"])?;
        eprintln!("answered in {:.1} s under the flood", start.elapsed().as_secs_f32());
        let used: u64 = chaos
            .call("cat /sys/fs/cgroup/machined/memory.current")?
            .first()
            .and_then(|line| line.parse().ok())
            .context("no memory.current")?;
        ensure!(used < MACHINED / 2, "machined uses {used} bytes");
        let all = apictl.run(&["logs", "flood", "--output", "raw"])?;
        let said = String::from_utf8_lossy(&all.stderr).into_owned();
        ensure!(all.status.success(), "apictl logs flood: {said}");
        ensure!(said.contains("of the log are lost here"), "nobody says that most of it is gone: {said}");
        ensure!(all.stdout.len() < 64 << 20, "{} bytes of the flood are kept", all.stdout.len());

        chaos.call("hush flood")?;
        let pid = apictl.get("service", "flood")?["value"]["pid"].to_string();
        chaos.kill(&pid, "KILL")?;
        apictl.wait_maintenance()
    })
}
