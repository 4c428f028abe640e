//! A machine without serial port, screen, network and source of random numbers. Nobody sees it boot; its power button says
//! that it did, and what it left on its disk.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    machine::Machine,
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Random, Serial, Spec, Vm},
    wait,
};

use crate::shared;

/// How long it may take to obey; pressed twice while it stops the button does nothing more.
const STOP: Duration = Duration::from_secs(5);

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_machine_without_port_screen_network_and_random_numbers_boots_and_stops_in_order", story)]
}

fn story() -> Result<()> {
    let folder = Scratch::new()?;
    let whole = shared::spec()?;
    let poor = Spec { serial: Serial::None, nic: None, random: Random::None, ..whole.clone() };
    let vm = Vm::start_in(&poor, folder.path())?;
    // The button does nothing before somebody listens to it: pressed again and again.
    wait::until("the machine to obey its power button", BOOT, || {
        // The monitor closes with the machine.
        let _ = vm.qmp.power_button();
        wait::until("the machine to switch itself off", STOP, || vm.is_off().then_some(())).ok()
    })?;
    drop(vm);

    let vm = Vm::start_in(&whole, folder.path())?;
    vm.wait_line("stele: api ready", BOOT)?;
    let apictl = Apictl::of(&vm)?;
    let machine = Machine { vm, apictl };
    let record = machine.boot_record()?;
    let last = &record["value"]["last"];
    ensure!(last["ended"] == "power-off" && last["reason"] == "power button", "it did not stop in order: {record}");
    let log = machine.apictl.ok(&["logs", "last-boot"])?;
    for line in ["gateway is ready", "stopping (power off): power button"] {
        ensure!(log.contains(line), "its log, which outlives it, does not say '{line}':\n{log}");
    }
    Ok(())
}
