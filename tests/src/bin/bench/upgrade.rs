//! An upgrade from a registry, twice from the same disk: once to its end, once through a power cut, which shows what is not
//! fetched again. Its steps are told by the node's own clock; how long the API is away by ours; both on an emulated machine, so
//! the same boot without an upgrade and the baseline's are beside them, by the clock and in counted virtual time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::{
    artifacts::{self, Image},
    machine::Machine,
    registry::Registry,
    vm::{BOOT, Disk, Spec, Vm},
};

use crate::{
    boots::{self, Way},
    configured::Configured,
    stamped::Stamped,
};

/// There is another version with this one alone; which kernel it is makes no difference.
const KERNEL: &str = "cloud";
/// A pull of a hundred megabytes, and a start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);
const READY: &str = "stele: api ready";
/// The first job of the machine.
const JOB: &str = "1";

/// A step of the job.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
}

/// Seconds of a boot of each kind.
pub(crate) struct Boots {
    /// The first one of the new version.
    pub(crate) trial: f64,
    /// Of the machine as it was.
    pub(crate) ordinary: f64,
    pub(crate) baseline: f64,
}

/// One upgrade, and the same through a power cut.
pub(crate) struct Figures {
    /// Each part of the image and its bytes.
    pub(crate) parts: Vec<(&'static str, u64)>,
    /// Up to the reboot.
    pub(crate) steps: Vec<Step>,
    /// Begun again once everything was pulled.
    pub(crate) resumed: Vec<Step>,
    /// Bytes that the disk took up to the reboot.
    pub(crate) written: u64,
    /// Of `installer pull` at most, with the cache of what it writes, in KiB.
    pub(crate) memory: u64,
    /// From the accepted reboot to the API, by the clock; the baseline's is from power-on.
    pub(crate) clock: Boots,
    /// From the accepted reboot to the proof that the new version is well, by the clock.
    pub(crate) proven: f64,
    /// From power-on to the API, in counted virtual time.
    pub(crate) counted: Boots,
}

/// Upgrades a machine to the same system under another digest.
pub(crate) fn measure() -> Result<Figures> {
    eprintln!("==> an upgrade, {KERNEL} kernel");
    let (image, next) = (artifacts::product_image(KERNEL), artifacts::next_product_image());
    let registry = Registry::start()?;
    registry.push(&next, "0.2.0", "next", &[], None)?;
    let configured = Configured::new(&image, &[("registry", &registry.document())])?;
    let whole = whole(&configured, &registry)?;
    let ordinary = boots::settled(|| counted(&configured))?;
    let resumed = resumed(&configured, &registry)?;
    let trial = boots::settled(|| counted(&configured))?;
    let (by_clock, by_count) = baseline()?;
    Ok(Figures {
        parts: parts(&next)?,
        resumed,
        clock: Boots { baseline: by_clock, ..whole.clock },
        counted: Boots { trial: trial.0, ordinary: ordinary.0, baseline: by_count },
        steps: whole.steps,
        written: whole.written,
        memory: whole.memory,
        proven: whole.proven,
    })
}

struct Whole {
    steps: Vec<Step>,
    written: u64,
    memory: u64,
    clock: Boots,
    proven: f64,
}

/// By the clock; the disk stays as it was.
fn whole(configured: &Configured, registry: &Registry) -> Result<Whole> {
    let machine = started(configured, registry, true)?;
    let (vm, apictl) = (&machine.vm, &machine.apictl);
    apictl.ok(&["reboot", "--no-wait"])?;
    let ordinary = since(Instant::now(), || vm.wait_count(READY, 2, BOOT))?;
    quiet(&machine)?;

    let mut log = apictl.follow(&["logs", "machined", "--follow", "--tail", "1"])?;
    let before = written(vm)?;
    let job = asked(&machine, registry)?;
    let (accepted, shown) = job.sees("the reboot", |job| job["step"] == "reboot")?;
    let written = written(vm)?.saturating_sub(before);
    let trial = since(accepted, || vm.wait_count(READY, 3, BOOT))?;
    let proven = since(accepted, || vm.wait_line("is proven", PATIENCE).map(drop))?;
    eprintln!("    {trial:.1} s away, {proven:.1} s until it is proven; {ordinary:.1} s without an upgrade");
    let ended = log.wait_line("the pull to end", |line| line.contains("/usr/bin/installer ended with"))?;
    let clock = Boots { trial, ordinary, baseline: f64::NAN };
    Ok(Whole { steps: steps(&shown)?, written, memory: peak(&ended)?, clock, proven })
}

/// Loses its power as soon as everything is pulled. The disk is left as it is when the new version is to be started.
fn resumed(configured: &Configured, registry: &Registry) -> Result<Vec<Step>> {
    let mut machine = started(configured, registry, false)?;
    asked(&machine, registry)?.sees("all to be pulled", |job| job["step"] == "stage")?;
    machine.vm.qmp.reset()?;
    // From now on a reset of the guest's is the end.
    machine.vm.qmp.execute("set-action", json!({ "reboot": "shutdown" }))?;
    machine.vm.wait_count(READY, 2, BOOT)?;
    let (_, shown) = watch(&machine)?.sees("the reboot", |job| job["step"] == "reboot")?;
    machine.vm.wait_off(BOOT)?;
    steps(&shown)
}

/// Its disk is not written to when `lost`.
fn started(configured: &Configured, registry: &Registry, lost: bool) -> Result<Machine> {
    let vm = configured.start_by_clock(vec![registry.reached()?], lost)?;
    vm.wait_line(READY, BOOT)?;
    let machine = Machine { vm, apictl: configured.apictl() };
    quiet(&machine)?;
    Ok(machine)
}

fn quiet(machine: &Machine) -> Result<()> {
    machine.wait_drivers()?;
    let mounted = |volume: &Value| volume["value"]["phase"] == "mounted";
    machine.apictl.wait_for("volume", "EPHEMERAL", "EPHEMERAL", mounted).map(drop)
}

fn asked(machine: &Machine, registry: &Registry) -> Result<Stamped> {
    let job = watch(machine)?;
    machine.apictl.ok(&["upgrade", "--image", &registry.image("next"), "--no-wait"])?;
    Ok(job)
}

fn watch(machine: &Machine) -> Result<Stamped> {
    Stamped::start(&machine.apictl, &["get", "job", JOB, "--watch"])
}

/// The steps that are over: each ends where the next one begins.
fn steps(job: &Value) -> Result<Vec<Step>> {
    let all = job["steps"].as_array().context("a job without steps")?;
    let begins = |step: &Value| step["unixMs"].as_u64().context("a step without its begin");
    let length = |pair: &[Value]| -> Result<Step> {
        let [step, next] = pair else { anyhow::bail!("no pair") };
        let took = Duration::from_millis(begins(next)?.saturating_sub(begins(step)?));
        let name = step["name"].as_str().context("a step without a name")?.to_owned();
        Ok(Step { name, seconds: took.as_secs_f64(), bytes: step["bytes"].as_u64().unwrap_or(0) })
    };
    all.windows(2).map(length).collect()
}

/// Bytes that the emulator wrote to the disk since it was started.
fn written(vm: &Vm) -> Result<u64> {
    let all = vm.qmp.execute("query-blockstats", json!({}))?;
    let disk = all.as_array().into_iter().flatten().find(|device| device["device"] == "disk0");
    disk.and_then(|disk| disk["stats"]["wr_bytes"].as_u64()).with_context(|| format!("no disk0 in {all}"))
}

/// The number in `its memory was N KiB at most`.
fn peak(line: &str) -> Result<u64> {
    let number = line.split_once("its memory was ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    number.with_context(|| format!("no memory in '{line}'"))
}

fn since(start: Instant, event: impl FnOnce() -> Result<()>) -> Result<f64> {
    event().map(|()| start.elapsed().as_secs_f64())
}

fn counted(configured: &Configured) -> Result<(f64, ())> {
    Ok((boots::until_ready(&configured.start(Vec::new())?)?, ()))
}

/// By the clock and counted.
fn baseline() -> Result<(f64, f64)> {
    let image = artifacts::baseline_image(KERNEL);
    let spec = Spec { disks: vec![Disk::of(image.raw()?)], tpm: false, ..Spec::disk(&image)? };
    let start = Instant::now();
    let vm = Vm::start(&spec)?;
    let by_clock = since(start, || vm.wait_line(READY, BOOT).map(drop))?;
    drop(vm);
    Ok((by_clock, boots::until_ready(&Vm::start(&boots::spec(&image, Way::Uki)?)?)?))
}

fn parts(image: &Image) -> Result<Vec<(&'static str, u64)>> {
    let files = [
        ("uki", image.uki()?),
        ("recovery", image.recovery()?),
        ("loader", image.loader()?),
        ("installer", artifacts::binaries().join("installer")),
    ];
    files.into_iter().map(|(name, path)| Ok((name, path.metadata()?.len()))).collect()
}
