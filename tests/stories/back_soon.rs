//! machined is killed, and the API answers again within two seconds.
//!
//! The seconds are the guest's, and instructions are its clock (`Spec::counted`): on a workstation that is busy with other
//! machines time passes in a guest that does not run, and a limit on that would fail for the wrong reason. Here the same
//! work takes the same time whatever else runs, so that every kill is held to the limit, not their median. The guest says
//! when it killed (chaos) and when machined had asked itself through the gateway (the kernel's log).

use anyhow::{Context, Result, ensure};
use tests::{
    chaos::Chaos,
    runner::Story,
    vm::{BOOT, Spec, Vm},
    wait,
};

use crate::shared;

/// What an operator was promised, in milliseconds.
const PROMISED: u64 = 2000;

/// machined lives for longer than this before it is killed, or init would take it for a crash loop and let it wait.
const HEALTHY: u64 = 35_000;

const KILLS: usize = 5;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("the_api_answers_within_two_seconds_of_a_kill_by_the_guest_s_own_time", story)]
}

fn story() -> Result<()> {
    let vm = Vm::boot_to(&Spec { counted: true, ..shared::spec()? }, "stele: api ready")?;
    let mut chaos = Chaos::of(&vm)?;
    let mut took = Vec::new();
    let mut answered = answers(&mut chaos)?.pop().context("machined has not logged that the API answers")?;
    for _ in 0..KILLS {
        // Nobody waits long for it: the time of an idle machine flies.
        wait::until("machined to be healthy", BOOT, || {
            uptime(&mut chaos).ok().filter(|now| *now > answered + HEALTHY)
        })?;
        let killed: u64 = chaos.call("strike machined")?.concat().parse().context("when it was killed")?;
        answered = wait::until("the API to answer", BOOT, || {
            answers(&mut chaos).ok()?.pop().filter(|answered| *answered > killed)
        })?;
        took.push(answered - killed);
    }
    eprintln!("the API answered again after {took:?} ms of the guest's time");
    ensure!(took.iter().all(|took| *took <= PROMISED), "the API was away for too long: {took:?} ms");
    Ok(())
}

/// The uptimes at which machined had an answer of the API for the first time in its life, in milliseconds.
fn answers(chaos: &mut Chaos) -> Result<Vec<u64>> {
    let lines = chaos.call("kmsg the API answers uptime_ms=")?;
    let stamp = |line: &String| line.rsplit_once('=').and_then(|(_, ms)| ms.trim().parse().ok());
    lines.iter().map(|line| stamp(line).with_context(|| format!("no uptime in '{line}'"))).collect()
}

fn uptime(chaos: &mut Chaos) -> Result<u64> {
    let text = chaos.call("cat /proc/uptime")?.concat();
    let (seconds, _) = text.split_once('.').with_context(|| format!("no uptime: '{text}'"))?;
    Ok(seconds.parse::<u64>()? * 1000)
}
