//! A machine that was started from a stick or a disc puts the system onto a disk, which then starts alone: the disk is chosen by
//! what it is, what holds anything is refused, and who installed knows the new machine's fingerprint. And with nobody at it.

use std::{
    fs::{File, OpenOptions},
    net::Ipv4Addr,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{
    apictl::Apictl,
    artifacts, child,
    machine::{self, Machine},
    nocloud::{self, Files},
    operator::{Operator, wait_blessed},
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Bus, Disk, Spec, Vm, free_port},
};

use crate::{boot_disk::BootDisk, power_cuts};

/// Room for the system and its volumes.
const ROOM: u64 = 4 << 30;
/// Some hundred megabytes written and read back, on a busy machine.
const INSTALL: Duration = Duration::from_secs(900);

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("a_stick_installs_the_system_on_the_disk_that_is_meant_and_that_disk_starts_alone", stick),
        Story::new("a_disc_runs_from_memory_beside_an_installed_disk_and_replaces_it_by_order_alone", || {
            disc(power_cuts::SOME)
        }),
        Story::long("a_power_cut_anywhere_in_an_install", || disc(power_cuts::MANY)),
        Story::new("a_document_installs_with_nobody_at_it_once", unattended),
    ]
}

/// An empty disk in a folder.
fn empty(folder: &Path, name: &str) -> Result<Disk> {
    let path = folder.join(name);
    File::create(&path)?.set_len(ROOM)?;
    Ok(Disk { writable: true, ..Disk::of(path) })
}

/// The test image as a disc.
fn iso(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("disc.iso");
    let mut imager = child::free(artifacts::imager());
    imager.args(["image", "--format", "iso", "--uki"]).arg(artifacts::test_image().uki()?).arg("-o").arg(&path);
    let made = imager.output().context("starting imager; run `make build`")?;
    ensure!(made.status.success(), "imager image: {}", String::from_utf8_lossy(&made.stderr));
    Ok(path)
}

/// What a refused install says.
fn refused(apictl: &Apictl, words: &[&str]) -> Result<String> {
    let output = apictl.run(&[&["install"], words].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(4), "install {words:?}: {}: {said}", output.status);
    Ok(said)
}

/// Installs and waits for the reboot into the disk; the fingerprint that it was promised is pinned. The number of the job.
fn install(machine: &mut Machine, words: &[&str]) -> Result<String> {
    let accepted = machine.apictl.json(&[&["install", "--no-wait"], words].concat())?;
    let id = accepted["job"].as_u64().context("no job")?.to_string();
    let outcome = tests::wait::until("the install to be done", INSTALL, || {
        let job = machine.apictl.get("job", &id).ok()?;
        (job["value"]["phase"] != "running").then_some(job)
    })?;
    let reason = outcome["value"]["reason"].as_str().unwrap_or_default().to_owned();
    ensure!(outcome["value"]["phase"] == "done", "the install: {outcome}");
    let fingerprint = reason.split_whitespace().next_back().unwrap_or_default();
    ensure!(fingerprint.len() == 64 && fingerprint != machine.apictl.fingerprint(), "no new fingerprint: {reason}");
    machine.vm.wait_count("stele: api ready", 2, BOOT)?;
    machine.apictl.pin(fingerprint);
    Ok(id)
}

/// A machine that runs generation 1 of this disk, proven, knows the job that installed it, and waits for a configuration.
fn started_from(machine: &Machine, disk: &str, job: &str) -> Result<()> {
    machine.apictl.wait_maintenance()?;
    let found = machine.wait_system_disk()?;
    ensure!(found["value"]["disk"] == disk, "another disk: {found}");
    machine.apictl.wait_for("generation", "1", "generation 1 to run, blessed", |generation| {
        let shown = &generation["value"];
        shown["state"] == "blessed" && shown["marks"] == serde_json::json!(["running", "current"])
    })?;
    let job = machine.apictl.get("job", job)?;
    ensure!(job["value"]["phase"] == "done" && job["value"]["kind"] == "install", "its history: {job}");
    Ok(())
}

fn stick() -> Result<()> {
    let folder = Scratch::new()?;
    let image = artifacts::generic_test_image();
    let target = empty(folder.path(), "target")?;
    let held = empty(folder.path(), "held")?;
    OpenOptions::new().write(true).open(&held.image)?.write_all_at(b"XFSB", 0)?;
    let spec = Spec {
        disks: vec![Disk { bus: Bus::Usb, ..Disk::of(image.raw()?) }, target.clone(), held],
        tpm: false,
        ..Spec::disk(&image)?
    };
    let job = machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        let choice = machine.apictl.json(&["install", "--disk", "serial=stele1", "--dry-run"])?;
        ensure!(choice["chosen"] == "vda", "the choice: {choice}");
        let why = |disk: &str| choice["disks"].as_array().and_then(|all| all.iter().find(|one| one["disk"] == disk));
        let said = |disk: &str, text: &str| why(disk).is_some_and(|one| one["whyNot"].to_string().contains(text));
        ensure!(said("sda", "started from it") && said("vdb", "it is STELE2"), "why not the others: {choice}");
        let both = refused(&machine.apictl, &["--disk", "size>=1G", "--wipe", "--dry-run"])?;
        ensure!(both.contains("vda and vdb are all"), "{both}");
        let held = refused(&machine.apictl, &["--disk", "serial=STELE2"])?;
        ensure!(held.contains("holds xfs") && held.contains("--wipe"), "{held}");
        let job = install(machine, &["--disk", "serial=STELE1"])?;
        started_from(machine, "vda", &job)?;
        machine.apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT)?;
        Ok(job)
    })?;
    // Alone, with a firmware that knows nothing of it.
    let spec = Spec { disks: vec![target], ..spec };
    machine::with(&spec, |machine| started_from(machine, "vda", &job))
}

fn disc(cuts: power_cuts::Extent) -> Result<()> {
    let (folder, mut disk) = (Scratch::new()?, BootDisk::roomy()?);
    let recorder = disk.record();
    let disc = Disk { bus: Bus::Optical, ..Disk::of(iso(folder.path())?) };
    let spec = Spec { disks: vec![disc, disk.disk()], tpm: false, ..Spec::disk(&artifacts::test_image())? };
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        let system = machine.apictl.get("system-disk", "system-disk")?;
        ensure!(system["value"]["state"] == "none", "a system disk, though it runs from a disc: {system}");
        ensure!(machine.apictl.run(&["health"])?.status.success(), "it is not healthy");
        let held = refused(&machine.apictl, &["--disk", "serial=STELE1"])?;
        ensure!(held.contains("vda1 (vfat") && held.contains("vda2 (meta"), "{held}");
        let operator = Operator::new(machine)?;
        operator.generate(machine, "node-1")?;
        machine.apictl.use_context();
        let install = || operator.install(&machine.apictl, INSTALL, &["--disk", "serial=STELE1", "--wipe"]);
        let said = recorder.during("install", install)?;
        ensure!(said.contains("the context knows it by that fingerprint now"), "{said}");
        wait_blessed(&machine.apictl, 1)?;
        machine.apictl.wait_for("generation", "1", "generation 1 with the configuration", |generation| {
            let shown = &generation["value"];
            shown["marks"] == serde_json::json!(["running", "current"]) && shown["revision"] == 1
        })?;
        machine.apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT).map(drop)
    })?;
    power_cuts::prove(&recorder, cuts, &["install"])
}

fn unattended() -> Result<()> {
    let folder = Scratch::new()?;
    let mut spec = Spec::disk(&artifacts::test_image())?;
    (spec.port, spec.tpm) = (free_port()?, false);
    let (workstation, user_data) = nocloud::user_data(folder.path(), (Ipv4Addr::LOCALHOST, spec.port).into())?;
    let user_data = format!("{user_data}---\napiVersion: stele/v1\nkind: Install\ndisk: {{ serial: STELE2 }}\n");
    let files = Files { user_data: user_data.as_bytes(), meta_data: "instance-id: i-7\n", network_config: "" };
    let seed = nocloud::disk(folder.path(), "seed", "iso9660", files)?;
    let optical = |image: PathBuf| Disk { bus: Bus::Optical, ..Disk::of(image) };
    spec.disks = vec![optical(iso(folder.path())?), optical(seed), empty(folder.path(), "target")?];
    let vm = Vm::start(&spec)?;
    let told = |vm: &Vm| -> Result<()> {
        vm.wait_count("stele: config nocloud: used", 1, INSTALL)?;
        vm.wait_line("stele: phase running", BOOT)?;
        ensure!(vm.console.count("stele: phase maintenance") == 0, "it opened maintenance: {}", vm.console.tail(60));
        wait_blessed(&workstation, 1)?;
        let system = workstation.get("system-disk", "system-disk")?;
        ensure!(system["value"]["disk"] == "vda", "not from the disk: {system}");
        let job: Value = workstation.get("job", "1")?;
        ensure!(job["value"]["by"] == "the document Install", "its history: {job}");
        Ok(())
    };
    told(&vm).with_context(|| vm.console.tail(60))?;
    drop(vm);
    // A firmware that starts the disc first.
    let vm = Vm::start(&spec)?;
    vm.wait_line("was installed by this document already", BOOT)?;
    ensure!(vm.console.count("stele: phase maintenance") == 0, "it opened maintenance: {}", vm.console.tail(60));
    Ok(())
}
