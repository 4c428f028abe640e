//! Versions of the system on trial, with real UKIs. One that is proven is kept with its revision of the configuration; one that
//! is not goes by itself, and the machine says why. Where no version can be started, the recovery system answers.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{
    apictl::Apictl,
    machine::{self, Machine},
    operator::{Operator, wait_blessed, wait_config},
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Spec, Vm, free_port},
};

use crate::{boot_disk::BootDisk, versions};

/// It is never open, and shut for good at this many seconds after the machine's start. Until then a machined that ends again
/// and again is given up, and the next start has some time left.
const SHUT: &str = "kind: Gate\nname: shut\ntcp: 127.0.0.1:9\ndeadline: 150s\n";
/// For that, on a busy machine.
const SHUT_WITHIN: Duration = Duration::from_secs(400);

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("a_version_on_trial_is_kept_once_proven_or_goes_by_itself_and_the_configuration_with_it", trials),
        Story::new("a_version_that_never_comes_up_goes_after_three_starts_and_without_any_recovery_answers", broken),
        Story::new("a_machine_whose_firmware_tells_nothing_knows_what_runs", mute),
    ]
}

/// A machine that is switched off while its disk is changed.
pub(crate) struct Node {
    folder: Scratch,
    pub(crate) disk: BootDisk,
    spec: Spec,
}

impl Node {
    pub(crate) fn new(disk: BootDisk) -> Result<Self> {
        let spec = Spec { port: free_port()?, ..disk.whole_spec()? };
        Ok(Self { folder: Scratch::new()?, disk, spec })
    }

    /// Switches it on, and off in order when this is told.
    pub(crate) fn run<T>(&self, configured: bool, story: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
        let vm = Vm::start_in(&self.spec, self.folder.path())?;
        vm.wait_line("stele: api ready", BOOT)?;
        let apictl = if configured { Apictl::of_workstation(self.folder.path()) } else { Apictl::of(&vm)? };
        machine::told(&mut Machine { vm, apictl }, |machine| {
            let done = story(machine)?;
            machine.apictl.ok(&["shutdown", "--no-wait"])?;
            machine.vm.wait_off(BOOT)?;
            Ok(done)
        })
    }

    /// Halves the file of a generation.
    fn truncate(&self, number: u32, uki: &[u8]) -> Result<()> {
        let (_, state) = self.disk.state()?.unwrap_or_else(|| unreachable!("the loader has just read it"));
        let known = state.generation(number).map(|generation| generation.uki.digest);
        let put = self.disk.put_uki(uki, Some(&uki[..uki.len() / 2]))?;
        ensure!(known == Some(put.digest), "not that of generation {number}: {state:?}");
        Ok(())
    }
}

/// Waits until a generation is shown like this.
pub(crate) fn wait_generation(
    apictl: &Apictl,
    number: u32,
    state: &str,
    marks: &[&str],
    revision: Option<u64>,
) -> Result<Value> {
    let what = format!("generation {number} to be {state} {marks:?} with revision {revision:?}");
    let found = apictl.wait_for("generation", &number.to_string(), &what, |generation| {
        let shown = &generation["value"];
        shown["state"] == state && shown["marks"] == serde_json::json!(marks) && shown["revision"].as_u64() == revision
    })?;
    Ok(found["value"].clone())
}

fn wait_event(apictl: &Apictl, texts: &[&str]) -> Result<()> {
    let told = || -> Result<Option<()>> {
        let events = apictl.list("events")?;
        let said = |event: &Value| texts.iter().all(|text| event["value"]["message"].to_string().contains(text));
        Ok(events.iter().any(said).then_some(()))
    };
    tests::wait::until(&format!("an event with {texts:?}"), BOOT, || told().ok().flatten())?;
    Ok(())
}

fn trials() -> Result<()> {
    let node = Node::new(BootDisk::roomy()?)?;
    let operator = node.run(false, |machine| {
        machine.apictl.wait_maintenance()?;
        wait_generation(&machine.apictl, 1, "blessed", &["running", "current"], None)?;
        ensure!(machine.apictl.list("gates")?.is_empty(), "there are gates, and nothing is on trial");
        let operator = Operator::new(machine)?;
        operator.generate(machine, "node-1")?;
        operator.write("shut", SHUT)?;
        machine.apictl.use_context();
        operator.apply(&machine.apictl, &[])?;
        wait_blessed(&machine.apictl, 1)?;
        wait_generation(&machine.apictl, 1, "blessed", &["running", "current"], Some(1))?;
        Ok(operator)
    })?;

    ensure!(node.disk.stage(&versions::another(1)?)? == 2, "another number");
    node.run(true, |machine| fails(machine, &operator))?;

    let good = versions::another(2)?;
    ensure!(node.disk.stage(&good)? == 3, "another number");
    node.run(true, |machine| {
        let apictl = &machine.apictl;
        ensure!(machine.vm.console.line("stele-loader: starting generation 3 (on trial)").is_some(), "not started");
        wait_generation(apictl, 3, "blessed", &["running", "current"], Some(2))?;
        wait_generation(apictl, 1, "blessed", &[], Some(2))?;
        ensure!(apictl.list("gates")?.is_empty(), "there are gates, and the trial is over");
        operator.write("tune", "kind: Sysctl\nname: tune\nsettings: { vm.swappiness: \"10\" }\n")?;
        operator.apply(apictl, &[])?;
        wait_blessed(apictl, 3)?;
        wait_generation(apictl, 3, "blessed", &["running", "current"], Some(3)).map(drop)
    })?;

    // Its file is damaged: the other one runs, with what was proven with that, and is current once it is proven again.
    node.truncate(3, &good)?;
    node.run(true, |machine| {
        wait_event(&machine.apictl, &["generation 3 was not started", "another length"])?;
        wait_event(&machine.apictl, &["generation 3 cannot be started", "generation 1 is current now"])?;
        wait_generation(&machine.apictl, 1, "blessed", &["running", "current"], Some(2))?;
        wait_generation(&machine.apictl, 3, "blessed", &[], Some(3))?;
        wait_blessed(&machine.apictl, 2).map(drop)
    })?;
    // It is mended, and the operator wants it back.
    node.disk.put_uki(&good, Some(&good))?;
    node.run(true, |machine| {
        wait_generation(&machine.apictl, 1, "blessed", &["running", "current"], Some(2))?;
        machine.apictl.ok(&["rollback", "--to", "3"])?;
        wait_generation(&machine.apictl, 3, "blessed", &["running", "current"], Some(3))?;
        wait_blessed(&machine.apictl, 3).map(drop)
    })
}

/// Generation 2 on trial: its machined ends again and again, which costs a start; then its gate stays shut.
fn fails(machine: &Machine, operator: &Operator) -> Result<()> {
    let (vm, apictl) = (&machine.vm, &machine.apictl);
    const TRIAL: &str = "stele-loader: starting generation 2 (on trial)";
    ensure!(vm.console.count(TRIAL) == 1, "not started:\n{}", vm.console.tail(40));
    let shut = apictl
        .wait_for("gate", "gate/shut", "the gate", |gate| gate["value"]["reason"].to_string().contains("refused"))?;
    ensure!(shut["value"]["open"] == false && shut["value"]["deadlineS"] == 150, "{shut}");
    let change =
        apictl.run(&["patch", "-p", "apiVersion: stele/v1\nkind: Hostname\nhostname: other\n", "--no-wait"])?;
    let said = String::from_utf8_lossy(&change.stderr).into_owned();
    ensure!(!change.status.success() && said.contains("generation 2"), "changed under a trial: {said}");

    let mark = vm.console.len();
    let mut chaos = machine.chaos()?;
    chaos.last_words("away machined 600000")?;
    vm.wait_line_after("machined ends again and again", mark, BOOT)?;
    // A wire that is cut loses what the machine has not read yet.
    drop(chaos);
    vm.wait_line_after(TRIAL, mark, BOOT)?;
    vm.wait_line_after("stele-loader: starting generation 1 (current)", mark, SHUT_WITHIN)?;
    ensure!(vm.console.count(TRIAL) == 2, "started {} times", vm.console.count(TRIAL));
    let failed = wait_generation(apictl, 2, "failed", &[], None)?;
    let why = failed["reason"].to_string();
    ensure!(why.contains("gate/shut") && why.contains("not in time"), "it does not say why: {failed}");
    ensure!(failed["reached"] == "gates" && failed["starts"] == 2, "not what it came to: {failed}");
    wait_generation(apictl, 1, "blessed", &["running", "current"], Some(1))?;
    wait_blessed(apictl, 1)?;

    operator.remove("shut")?;
    operator.apply(apictl, &[])?;
    wait_config(apictl, "a revision without the gate", |status| {
        status["state"] == "blessed" && status["revision"] == 2
    })?;
    wait_generation(apictl, 1, "blessed", &["running", "current"], Some(2)).map(drop)
}

fn broken() -> Result<()> {
    let node = Node::new(BootDisk::of_image()?)?;
    ensure!(node.disk.stage(&versions::without_init(b'x')?)? == 2, "another number");
    node.run(false, |machine| given_up(machine, 2))?;
    // And once more.
    ensure!(node.disk.stage(&versions::without_init(b'y')?)? == 3, "another number");
    node.run(false, |machine| {
        given_up(machine, 3)?;
        wait_generation(&machine.apictl, 2, "failed", &[], None).map(drop)
    })?;

    node.truncate(1, &std::fs::read(tests::artifacts::test_image().uki()?)?)?;
    node.run(false, |machine| {
        machine.vm.wait_line("generation 1 cannot be started: its file has another length", BOOT)?;
        machine.vm.wait_line("stele-loader: starting recovery (nothing else can be started)", BOOT)?;
        wait_generation(&machine.apictl, 1, "blessed", &["current"], None)?;
        wait_event(&machine.apictl, &["no generation could be started; of generation 1", "another length"])?;
        wait_event(&machine.apictl, &["this is the recovery system"])?;
        machine.apictl.ok(&["logs", "machined", "--tail", "1"]).map(drop)
    })
}

/// The generation was started three times, and the first one runs.
fn given_up(machine: &Machine, number: u32) -> Result<()> {
    machine.apictl.wait_maintenance()?;
    let started = machine.vm.console.count(&format!("stele-loader: starting generation {number} (on trial)"));
    ensure!(started == 3, "started {started} times:\n{}", machine.vm.console.tail(60));
    let failed = wait_generation(&machine.apictl, number, "failed", &[], None)?;
    let why = failed["reason"].to_string();
    ensure!(why.contains("never came as far as machined"), "it does not say why: {failed}");
    ensure!(failed["reached"] == "loader" && failed["starts"] == 3, "not what it came to: {failed}");
    wait_event(&machine.apictl, &[&format!("generation {number} failed"), "never came as far as machined"])?;
    wait_generation(&machine.apictl, 1, "blessed", &["running", "current"], None).map(drop)
}

/// A version that can neither read nor write the firmware's variables is proven, and still known after a restart of machined.
fn mute() -> Result<()> {
    let node = Node::new(BootDisk::of_image()?)?;
    ensure!(node.disk.stage(&versions::without_variables()?)? == 2, "another number");
    node.run(false, |machine| {
        let apictl = &machine.apictl;
        wait_generation(apictl, 2, "blessed", &["running", "current"], None)?;
        machine.chaos()?.kill("machined", "KILL")?;
        // Whoever answers from here on is the next one.
        wait_generation(apictl, 2, "blessed", &["running", "current"], None)?;
        // And by the next start, which is of no trial.
        apictl.ok(&["reboot"])?;
        wait_generation(apictl, 2, "blessed", &["running", "current"], None).map(drop)
    })
}
