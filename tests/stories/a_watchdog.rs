//! The machine has a watchdog. It does not disturb an orderly reboot, resets a machine whose init stands still, and is put
//! away before the machine switches itself off.

use anyhow::{Result, ensure};
use tests::{machine, runner::Story, vm::BOOT};

use crate::shared;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_watchdog_resets_a_machine_whose_init_hangs_and_lets_it_stop_in_order", story)]
}

fn story() -> Result<()> {
    let mut spec = shared::spec()?;
    spec.extra = ["-device", "i6300esb", "-action", "watchdog=reset"].map(Into::into).to_vec();
    machine::with(&spec, |machine| {
        machine.wait_system_disk()?;
        machine.vm.wait_line("stele: watchdog armed: resets after 30 s", BOOT)?;
        machine.apictl.ok(&["reboot", "--reason", "with an armed watchdog"])?;
        let record = machine.boot_record()?;
        let last = &record["value"]["last"];
        ensure!(last["ended"] == "reboot", "the watchdog came between: {record}");

        machine.apictl.wait_maintenance()?;
        machine.wait_system_disk()?;
        let armed = "stele: watchdog armed";
        machine.vm.wait_count(armed, 2, BOOT)?;
        let mark = machine.vm.console.len();
        // No signal stops PID 1; the freezer of its cgroup does.
        machine.chaos()?.call("write /sys/fs/cgroup/init/cgroup.freeze 1")?;
        machine.vm.wait_line_after("stele: init started", mark, BOOT)?;
        let after = machine.boot_record()?;
        let last = &after["value"]["last"];
        ensure!(last["bootId"] == record["value"]["bootId"], "another boot is remembered: {after}");
        ensure!(last["ended"] == "unclean" && last["reason"].to_string().contains("a hang"), "not told so: {after}");

        machine.vm.wait_count(armed, 3, BOOT)?;
        machine.apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT).map(drop)
    })
}
