//! The story of an upgrade: from a registry, checked, staged, tried, kept; what is refused and why; back, forward again, and a second
//! one into the other slot; the recovery system. One machine for all of it, with the test image and two others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use boot::{Digest, entry::Which, state::State};
use serde_json::Value;
use sha2::Digest as _;
use tests::{
    apictl::Apictl,
    artifacts::{self, Image},
    cuts::Recorder,
    machine::Machine,
    operator::{Operator, wait_blessed},
    registry::Registry,
    runner::Story,
    vm::{BOOT, Spec},
};

use crate::{boot_disk::BootDisk, power_cuts};

/// A pull of a hundred megabytes, and a start, on a busy machine.
const UPGRADE: Duration = Duration::from_secs(900);
const REBOOT: Duration = Duration::from_secs(500);

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("a_machine_upgrades_from_a_registry_rolls_back_and_upgrades_again", || story(power_cuts::SOME)),
        Story::long("a_power_cut_anywhere_in_an_upgrade_a_blessing_or_a_rollback", || story(power_cuts::MANY)),
    ]
}

fn story(cuts: power_cuts::Extent) -> Result<()> {
    let (registry, mut disk) = (Registry::start()?, BootDisk::roomy()?);
    let recorder = disk.record();
    let (next, product) = (artifacts::next_test_image(), artifacts::product_image("cloud"));
    registry.push(&next, "0.2.0", "0.2.0", &["--floor", "0.2.0"], None)?;
    registry.push(&product, "0.3.0", "0.3.0", &[], None)?;
    registry.push(&product, "0.1.9", "old", &[], None)?;
    // A program that takes nobody's documents.
    let fixture = artifacts::binaries().join("fixture").display().to_string();
    registry.push(&product, "0.2.1", "strict", &["--installer", &fixture], None)?;
    registry.push(&product, "0.4.0", "forged", &[], Some(&registry.foreign_key()?))?;

    let spec = Spec { reaches: vec![registry.reached()?], ..disk.whole_spec()? };
    tests::machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.generate(machine, "node-1")?;
        operator.write("registry", &registry.document())?;
        machine.apictl.use_context();
        operator.apply(&machine.apictl, &[])?;
        wait_blessed(&machine.apictl, 1)?;
        told(machine, &registry, &recorder)?;
        machine.apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT).map(drop)
    })?;
    left(&disk, &next, &product)?;
    power_cuts::prove(&recorder, cuts, &["upgrade", "bless", "rollback"])
}

fn told(machine: &Machine, registry: &Registry, recorder: &Recorder) -> Result<()> {
    let apictl = &machine.apictl;
    runs(apictl, 1, "nothing is on trial")?;
    refused(apictl, &["rollback"], "nothing to go back to")?;
    refused(apictl, &["upgrade", "--confirm"], "not on trial")?;
    refused(apictl, &["upgrade", "--image", &registry.image("forged")], "signature: ")?;

    let said = recorder.during("upgrade", || {
        let said = upgrade(apictl, &registry.image("0.2.0"))?;
        settled(apictl)?;
        Ok(said)
    })?;
    ensure!(said.contains("version 0.2.0 runs and is blessed: generation 2"), "{said}");
    for (line, what) in [
        ("stele-loader: starting generation 2 (on trial)", "the loader"),
        ("stele: runs generation 2, on trial", "the console"),
        ("stele: generation 2 is proven", "the console"),
    ] {
        ensure!(machine.vm.console.count(line) == 1, "{what} does not say '{line}':\n{}", machine.vm.console.tail(60));
    }
    runs(apictl, 2, "is proven now")?;
    let jobs = apictl.ok(&["jobs"])?;
    ensure!(jobs.contains("upgrade") && jobs.contains("done"), "{jobs}");

    let again = upgrade(apictl, &registry.image("0.2.0"))?;
    ensure!(again.contains("runs already"), "{again}");
    refused(apictl, &["upgrade", "--image", &registry.image("old")], "floor: ")?;
    refused(apictl, &["upgrade", "--image", &registry.image("strict")], "configuration: version 0.2.1 cannot use it")?;

    recorder.during("rollback", || {
        let back = rebooted(apictl, &["rollback", "--reason", "to see it"])?;
        ensure!(back.contains("is back (running) with generation 1"), "{back}");
        runs(apictl, 1, "nothing is on trial")?;
        wait_blessed(apictl, 1)
    })?;
    recorder.during("rollback", || {
        let forward = rebooted(apictl, &["rollback", "--to", "2"])?;
        ensure!(forward.contains("is back (running) with generation 2"), "{forward}");
        runs(apictl, 2, "nothing is on trial")
    })?;

    let said = recorder.during("upgrade", || {
        let said = left_alone(apictl, &registry.image("0.3.0"))?;
        settled(apictl)?;
        Ok(said)
    })?;
    ensure!(said.contains("version 0.3.0 runs and is blessed: generation 3"), "{said}");
    let now = runs(apictl, 3, "is proven now")?;
    ensure!(now["slot"] == "a", "not in the slot that was free: {now}");
    let all = apictl.list("generations")?;
    let numbers: Vec<_> = all.iter().filter_map(|one| one["id"].as_str()).collect();
    ensure!(numbers == ["2", "3"], "not the two newest: {all:?}");
    recovery(machine)
}

/// With the same identity, and nothing in it changes.
fn recovery(machine: &Machine) -> Result<()> {
    let apictl = &machine.apictl;
    let said = rebooted(apictl, &["reboot", "--recovery"])?;
    ensure!(said.contains("is back as the recovery system"), "{said}");
    ensure!(machine.vm.console.line("stele: phase recovery").is_some(), "{}", machine.vm.console.tail(40));
    let record = apictl.get("boot-record", "boot")?;
    let started = &record["value"]["started"];
    ensure!(started["what"] == "recovery" && started["why"] == "it was asked for", "{started}");
    let ephemeral = apictl.wait_for("volume", "EPHEMERAL", "EPHEMERAL", |_| true)?;
    ensure!(ephemeral["value"]["reason"].to_string().contains("recovery system"), "{ephemeral}");
    let change = ["patch", "-p", "apiVersion: stele/v1\nkind: Hostname\nhostname: other\n"];
    refused(apictl, &change, "recovery")?;
    apictl.ok(&["logs", "machined", "--tail", "1"])?;
    let back = rebooted(apictl, &["rollback"])?;
    ensure!(back.contains("with generation 2"), "{back}");
    runs(apictl, 2, "nothing is on trial").map(drop)
}

/// What lies on the disk in the end.
fn left(disk: &BootDisk, next: &Image, product: &Image) -> Result<()> {
    let digest =
        |path: std::path::PathBuf| -> Result<Digest> { Ok(Digest(sha2::Sha256::digest(std::fs::read(path)?).into())) };
    let Some((_, state)) = disk.state()? else { anyhow::bail!("no boot state") };
    let State { current, slots, recovery, .. } = state;
    let (next, recovery_of) = (digest(next.uki()?)?, digest(product.recovery()?)?);
    let found = slots.map(|slot| slot.map(|one| (one.number, one.uki.digest)));
    let wanted = [Some((3, digest(product.uki()?)?)), Some((2, next))];
    ensure!(found == wanted && current == 2, "{state:?}");
    ensure!(recovery.map(|uki| uki.digest) == Some(recovery_of), "not the newest recovery: {state:?}");
    let entries = [Which::Generation(2), Which::Generation(3), Which::Recovery].map(|which| which.to_string());
    ensure!(disk.names("/loader/entries")? == entries, "{:?}", disk.names("/loader/entries")?);
    let entry = String::from_utf8(disk.read("/loader/entries/stele-00000003.conf")?)?;
    ensure!(entry.contains("version 0.3.0") || entry.contains("version 0.1.0"), "{entry}");
    let mut files: Vec<_> = slots.into_iter().flatten().map(|one| one.uki.digest).chain([recovery_of]).collect();
    files.sort_by_key(|digest| digest.0);
    let names = files.iter().map(|digest| format!("{digest}.efi")).collect::<Vec<_>>();
    ensure!(disk.names("/EFI/stele")? == names, "{:?} {names:?}", disk.names("/EFI/stele")?);
    let loader = std::fs::read(product.loader()?)?;
    ensure!(disk.read("/EFI/BOOT/BOOTX64.EFI")? == loader, "another loader");
    Ok(())
}

fn output(apictl: &Apictl, within: Duration, arguments: &[&str]) -> Result<(i32, String)> {
    let output = apictl.run_within(within, arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Ok((output.status.code().unwrap_or(-1), said))
}

fn done(apictl: &Apictl, within: Duration, arguments: &[&str]) -> Result<String> {
    let (code, said) = output(apictl, within, arguments)?;
    ensure!(code == 0, "apictl {}: {code}: {said}", arguments.join(" "));
    Ok(said)
}

fn upgrade(apictl: &Apictl, image: &str) -> Result<String> {
    done(apictl, UPGRADE, &["upgrade", "--image", image])
}

/// The client is killed as soon as the node has accepted.
fn left_alone(apictl: &Apictl, image: &str) -> Result<String> {
    let client = apictl.follow(&["upgrade", "--image", image])?;
    let accepted = || client.said().contains("it goes on when you leave").then_some(());
    tests::wait::until("the node to accept", BOOT, accepted).with_context(|| client.said())?;
    drop(client);
    let newest = || {
        let jobs = apictl.list("jobs").ok()?;
        let job = jobs.into_iter().max_by_key(|job| job["id"].as_str().and_then(|id| id.parse::<u64>().ok()))?;
        (job["value"]["phase"] != "running").then_some(job)
    };
    let job = tests::wait::until("the upgrade to be over", UPGRADE, newest)?;
    ensure!(job["value"]["phase"] == "done", "the upgrade: {job}");
    Ok(job["value"]["reason"].as_str().unwrap_or_default().to_owned())
}

fn rebooted(apictl: &Apictl, arguments: &[&str]) -> Result<String> {
    done(apictl, REBOOT, arguments)
}

/// With exit code 4 and these words.
fn refused(apictl: &Apictl, arguments: &[&str], words: &str) -> Result<()> {
    let (code, said) = output(apictl, UPGRADE, arguments)?;
    ensure!(code == 4 && said.contains(words), "apictl {}: {code}, not '{words}': {said}", arguments.join(" "));
    Ok(())
}

/// The generation runs and is current, and the boot record says why.
fn runs(apictl: &Apictl, number: u32, why: &str) -> Result<Value> {
    let what = format!("generation {number} to run");
    let found = apictl.wait_for("generation", &number.to_string(), &what, |generation| {
        generation["value"]["marks"] == serde_json::json!(["running", "current"])
    })?;
    ensure!(found["value"]["state"] == "blessed", "{found}");
    apictl.wait_for("boot-record", "boot", &format!("the record to say '{why}'"), |record| {
        let started = &record["value"]["started"];
        started["generation"] == number && started["why"].as_str().is_some_and(|text| text.contains(why))
    })?;
    Ok(found["value"].clone())
}

/// What came with the generation has taken its place.
fn settled(apictl: &Apictl) -> Result<()> {
    let told = || -> Result<Option<()>> {
        let events = apictl.list("events")?;
        let text = "recovery system, loader and entries are those of the proven generation";
        Ok(events.iter().any(|event| event["value"]["message"].to_string().contains(text)).then_some(()))
    };
    tests::wait::until("recovery, loader and entries to follow", BOOT, || told().ok().flatten())?;
    Ok(())
}
