//! machined and the gateway are killed a hundred times while somebody follows a log: not a line is missing or there twice,
//! services run on, and the API always comes back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{runner::Story, vm::BOOT, wait};

use crate::{shared::MACHINE, steady};

/// Every so often it is the gateway.
const GATEWAY: u32 = 4;

/// The longest a healthy machined may be missed after one kill, on a workstation that is busy with other machines. On an
/// idle one it is under two seconds.
const BACK: Duration = Duration::from_secs(20);

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("machined_and_gateway_are_killed_a_hundred_times_and_a_followed_log_is_whole", || told(100)),
        Story::long("machined_and_gateway_are_killed_a_thousand_times_and_a_followed_log_is_whole", || told(1000)),
    ]
}

/// `kills` is how often somebody is killed.
fn told(kills: u32) -> Result<()> {
    MACHINE.with(|machine| {
        machine.apictl.wait_maintenance()?;
        let mut chaos = machine.chaos()?;
        let before = services(&machine.pids()?);
        let mut log = machine.apictl.follow(&["logs", "steady", "--follow", "--output", "raw"])?;
        log.wait_line("the first line", |line| line.starts_with("steady "))?;

        let start = Instant::now();
        chaos.kill("machined", "KILL")?;
        machine.wait_api()?;
        let back = start.elapsed();
        eprintln!("the API answered {:.1} s after machined was killed", back.as_secs_f32());
        ensure!(back < BACK, "the API took {back:?} to come back");

        for round in 1..kills {
            let name = if round % GATEWAY == 0 { "gateway" } else { "machined" };
            wait::until(&format!("{name} to be there for kill {round}"), BOOT, || chaos.kill(name, "KILL").ok())?;
            // At all moments of its life, from its first instructions to its rest.
            wait::pause(Duration::from_millis(u64::from(round * 271 % 2000)));
        }
        machine.wait_api()?;
        machine.apictl.wait_maintenance()?;
        ensure!(services(&machine.pids()?) == before, "services were started again: {before:?}, {:?}", machine.pids()?);

        let last = steady::last(machine)?;
        log.wait_line("the log to catch up", |line| line == format!("steady {last}"))?;
        let lines = log.lines();
        let numbers =
            steady::whole(lines.iter().map(String::as_str)).with_context(|| format!("apictl said: {}", log.said()))?;
        eprintln!("{kills} kills in {:.0} s, {} lines", start.elapsed().as_secs_f32(), numbers.len());
        Ok(())
    })
}

/// All but the gateway, which is among those that are killed.
fn services(pids: &[(String, u64)]) -> Vec<(String, u64)> {
    pids.iter().filter(|(name, _)| name != "gateway").cloned().collect()
}
