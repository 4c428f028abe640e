//! Ctrl-Alt-Del reboots a machine in order, the power button switches it off; a service that ignores signals holds neither
//! up for longer than it declares.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::{machine, runner::Story, vm::BOOT};

use crate::shared;

/// What the declaration of deaf grants it (tests/image/services/deaf.yaml).
const DEAF: Duration = Duration::from_secs(3);

/// For everything else of an orderly stop, on a busy workstation.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("ctrl_alt_del_and_the_power_button_stop_in_order_a_deaf_service_too", story)]
}

fn story() -> Result<()> {
    machine::with(&shared::spec()?, |machine| {
        machine.apictl.wait_maintenance()?;
        machine.wait_system_disk()?;
        machine.chaos()?.call("tell deaf")?;
        machine
            .apictl
            .follow(&["logs", "deaf", "--follow"])?
            .wait_line("deaf to ignore signals", |line| line.contains("ignoring signals"))?;

        let mark = machine.vm.console.len();
        machine.vm.qmp.ctrl_alt_del()?;
        machine.vm.wait_line_after("stele: stopping: Ctrl-Alt-Del", mark, BOOT)?;
        let start = Instant::now();
        machine.vm.wait_line_after("stele: stopping: ending all processes", mark, BOOT)?;
        let took = start.elapsed();
        ensure!(took > DEAF / 2, "deaf was not given its time, only {took:?}");
        ensure!(took < DEAF + PATIENCE, "deaf held the machine up for {took:?}");
        machine.vm.wait_line_after("stele: init started", mark, BOOT)?;
        machine.vm.wait_line_after("stele: api ready", mark, BOOT)?;
        machine.apictl.wait_maintenance()?;
        let record = machine.boot_record()?;
        let last = &record["value"]["last"];
        ensure!(last["ended"] == "reboot" && last["reason"].to_string().contains("Ctrl-Alt-Del"), "{record}");
        let log = machine.apictl.ok(&["logs", "last-boot"])?;
        for said in
            ["stopping (reboot): Ctrl-Alt-Del", "deaf: did not stop within 3s, killed", "stop: handing over to init"]
        {
            ensure!(log.contains(said), "the end of the last boot's log is not kept, '{said}' is missing:\n{log}");
        }

        // The power button's is among them.
        machine.wait_drivers()?;
        let mark = machine.vm.console.len();
        machine.vm.qmp.power_button()?;
        machine.vm.wait_line_after("stele: stopping: power button", mark, BOOT)?;
        machine.vm.wait_off(BOOT).map(drop)
    })
}
