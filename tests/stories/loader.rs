//! The loader on the firmware it is made for: it starts what the decision says and nothing else, and whatever does not come
//! up brings the machine back to what is blessed.

mod random;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use boot::{
    entry::Which,
    state::{Failure, Generation, Phase, Reject, State},
};
use tests::{
    artifacts,
    runner::Story,
    vm::{BOOT, Spec, Vm},
    wait,
};

use crate::boot_disk::{BootDisk, FAULTS, RETURNS, RUNS, program};

/// The firmware's last word before the loader's first.
const FIRMWARE: &str = "BdsDxe: starting";
const STARTING: &str = "stele-loader: starting ";

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("whatever_a_disk_holds_the_loader_starts_what_the_decision_says", random::some),
        Story::long("whatever_a_disk_holds_the_loader_starts_what_the_decision_says_many_times", random::many),
        Story::new("a_trial_that_returns_and_one_that_faults_are_started_as_often_as_they_may", tries),
        Story::new("a_machine_that_loses_power_while_the_loader_counts_never_counts_up", power),
        Story::new("on_a_disk_that_cannot_be_written_nothing_on_trial_is_started", read_only),
        Story::new("a_trial_that_secure_boot_refuses_is_over_and_nobody_is_asked", refused),
        Story::long("a_trial_that_hangs_is_ended_by_the_firmwares_watchdog", hang),
        Story::long("a_machine_with_nothing_to_start_says_so_and_tries_again", nothing),
    ]
}

/// A disk whose generation 1 is blessed and 2 on trial, with its code.
fn trial(code: &[u8], tries: u8) -> Result<BootDisk> {
    let disk = BootDisk::of_image()?;
    let (blessed, trial) = (program(RUNS, 1), program(code, 2));
    let mut state = State::first(disk.put_uki(&blessed, Some(&blessed))?, None);
    let uki = disk.put_uki(&trial, Some(&trial))?;
    state.slots[1] = Some(Generation { number: 2, uki, phase: Phase::Trial { tries }, revision: 0 });
    state.next = 3;
    disk.set_state(&state)?;
    Ok(disk)
}

/// Runs a machine until its loader starts this.
fn boot_to(spec: &Spec, which: &str, limit: Duration) -> Result<Vm> {
    let vm = Vm::start(spec)?;
    vm.wait_line(&format!("{STARTING}{which} ("), limit)?;
    Ok(vm)
}

fn phase(disk: &BootDisk, number: u32) -> Result<Phase> {
    let (_, state) = disk.state()?.context("no boot state")?;
    Ok(state.generation(number).with_context(|| format!("no generation {number}: {state:?}"))?.phase)
}

fn tries() -> Result<()> {
    for (code, tries) in [(RETURNS, 3), (FAULTS, 1)] {
        let disk = trial(code, tries)?;
        let vm = boot_to(&disk.spec()?, "generation 1", BOOT)?;
        let started = vm.console.count(&format!("{STARTING}generation 2"));
        ensure!(started == usize::from(tries), "started {started} times:\n{}", vm.console.tail(30));
        let came_back = vm.console.count("what was started came back");
        ensure!(came_back == if code == RETURNS { 3 } else { 0 }, "{}", vm.console.tail(30));
        drop(vm);
        ensure!(phase(&disk, 2)? == Phase::Failed(Failure::Tries), "{:?}", disk.state()?);
        let (_, state) = disk.state()?.context("no boot state")?;
        ensure!(state.chosen.is_some_and(|chosen| chosen.which == Which::Generation(1)), "{state:?}");
    }
    Ok(())
}

/// The emulator is killed at moments around the write, again and again on the same disk.
fn power() -> Result<()> {
    let disk = trial(RETURNS, 250)?;
    let (mut seq, mut left) = (0, 250);
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..8 {
        let vm = Vm::start(&disk.spec()?)?;
        let boots = round % 3 + 1;
        vm.wait_count(FIRMWARE, boots, BOOT)?;
        wait::pause(Duration::from_millis(random.u64(0..150)));
        drop(vm);
        let (now, state) = disk.state()?.context("no boot state is left")?;
        let Some(Phase::Trial { tries }) = state.generation(2).map(|trial| trial.phase) else {
            anyhow::bail!("it is not on trial any more: {state:?}");
        };
        ensure!(now >= seq && tries <= left, "was {left} at {seq}, is {tries} at {now}");
        // Each start but the last has come to its end.
        ensure!(usize::from(left - tries) + 1 >= boots, "{boots} starts, counted from {left} to {tries}");
        (seq, left) = (now, tries);
    }
    Ok(())
}

fn read_only() -> Result<()> {
    let disk = trial(RUNS, 3)?;
    let before = disk.state()?;
    let mut spec = disk.spec()?;
    spec.disks.clear();
    let file = disk.path();
    spec.extra.extend([
        "-drive".to_owned(),
        format!("if=none,id=fixed,format=raw,readonly=on,file={}", file.display()),
        "-device".to_owned(),
        "virtio-blk-pci,drive=fixed,bootindex=1".to_owned(),
    ]);
    let vm = boot_to(&spec, "generation 1", BOOT)?;
    ensure!(vm.console.line("the boot state cannot be written").is_some(), "{}", vm.console.tail(20));
    ensure!(vm.console.count(STARTING) == 1, "{}", vm.console.tail(20));
    drop(vm);
    ensure!(disk.state()? == before, "it was written after all");
    Ok(())
}

/// What has no signature is refused; what the image brought is signed.
fn refused() -> Result<()> {
    let disk = BootDisk::of_image()?;
    let (_, mut state) = disk.state()?.context("the image has no boot state")?;
    let unsigned = program(RUNS, 1);
    let uki = disk.put_uki(&unsigned, Some(&unsigned))?;
    state.slots[1] = Some(Generation { number: 2, uki, phase: Phase::Trial { tries: 3 }, revision: 0 });
    state.next = 3;
    disk.set_state(&state)?;
    let spec = Spec { trusted: Some(artifacts::certificate()), ..disk.spec()? };
    let vm = boot_to(&spec, "generation 1", BOOT)?;
    let said = vm.console.line("generation 2 cannot be started");
    ensure!(said.is_some_and(|line| line.contains("Secure Boot refuses it")), "{}", vm.console.tail(20));
    ensure!(vm.console.count(FIRMWARE) == 1, "it was reset in between:\n{}", vm.console.tail(20));
    drop(vm);
    ensure!(phase(&disk, 2)? == Phase::Failed(Failure::File(Reject::Refused)), "{:?}", disk.state()?);
    Ok(())
}

fn hang() -> Result<()> {
    let disk = trial(RUNS, 1)?;
    // The firmware counts the guest's time: five minutes, and more on a busy machine.
    boot_to(&disk.spec()?, "generation 1", Duration::from_secs(900))?;
    ensure!(phase(&disk, 2)? == Phase::Failed(Failure::Tries), "{:?}", disk.state()?);
    Ok(())
}

fn nothing() -> Result<()> {
    let disk = BootDisk::of_image()?;
    disk.remove("/EFI/stele/*")?;
    let vm = Vm::start(&disk.spec()?)?;
    vm.wait_line("nothing on this disk can be started; trying again in a minute", BOOT)?;
    vm.wait_count(FIRMWARE, 2, BOOT)
}
