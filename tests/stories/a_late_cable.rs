//! A machine starts without network. It boots, says so, and has an address as soon as somebody plugs the cable in.

use anyhow::{Context, Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts,
    runner::Story,
    vm::{BOOT, Spec, Vm},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_machine_without_network_boots_and_takes_a_cable_later", story)]
}

fn story() -> Result<()> {
    let mut spec = Spec::kernel(&artifacts::test_image());
    spec.nic.as_mut().context("no card")?.cable = false;
    let vm = Vm::boot_to(&spec, "stele: fingerprint")?;
    vm.wait_line("stele: init started", BOOT)?;
    ensure!(vm.console.line("stele: address eth0 10.0.2.").is_none(), "an address without a cable");
    vm.qmp.set_link("net0", true)?;
    vm.wait_line("stele: address eth0 10.0.2.", BOOT)?;
    let apictl = Apictl::of(&vm)?;
    apictl.wait_maintenance()?;
    let events = apictl.ok(&["events"])?;
    ensure!(events.contains("eth0 has carrier"), "the cable is no event: {events}");
    Ok(())
}
