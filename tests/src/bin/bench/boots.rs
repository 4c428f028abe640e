//! From power-on to the API's answer, in instruction-counted virtual time.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::{
    apictl::Apictl,
    artifacts::{self, Image},
    vm::{Spec, Vm},
};

/// Counting costs two to three times the work of a plain boot, more with a TPM.
const LIMIT: Duration = Duration::from_secs(900);

/// How a machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `-kernel/-initrd`, without anything that disks could hang on.
    Kernel,
    /// The same with a SATA controller and no disk: nobody says that there is no META, so its drivers are loaded first.
    KernelSata,
    /// A UKI by UEFI firmware.
    Uki,
    /// The same with a TPM 2.0.
    UkiTpm,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Kernel, Self::KernelSata, Self::Uki, Self::UkiTpm];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel and initramfs",
            Self::KernelSata => "kernel and initramfs, empty SATA controller",
            Self::Uki => "UKI by firmware, virtio disk",
            Self::UkiTpm => "UKI by firmware, virtio disk, TPM",
        }
    }
}

/// One measured pair of boots.
pub(crate) struct Figure {
    pub(crate) kernel: String,
    pub(crate) way: Way,
    /// Virtual seconds since power-on.
    pub(crate) stele: f64,
    pub(crate) baseline: f64,
    /// Name of a phase and the virtual seconds it took.
    pub(crate) phases: Vec<(String, f64)>,
}

/// Boots the product and the baseline in every way.
pub(crate) fn measure(kernel: &str) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for way in Way::ALL {
        eprintln!("==> boot, {kernel} kernel, {}", way.name());
        let (baseline, _) = boot(&artifacts::baseline_image(kernel), way, false)?;
        let (stele, phases) = boot(&artifacts::product_image(kernel), way, true)?;
        eprintln!("    {stele:.2} s, baseline {baseline:.2} s");
        figures.push(Figure { kernel: kernel.into(), way, stele, baseline, phases });
    }
    Ok(figures)
}

fn boot(image: &Image, way: Way, ours: bool) -> Result<(f64, Vec<(String, f64)>)> {
    let mut spec = match way {
        Way::Kernel | Way::KernelSata => Spec::kernel(image),
        Way::Uki | Way::UkiTpm => Spec::disk(image)?,
    };
    spec.counted = true;
    spec.tpm = way == Way::UkiTpm;
    if way == Way::Kernel {
        spec.extra = vec!["-machine".into(), "sata=off".into()];
    }
    let vm = Vm::start(&spec)?;
    let line = vm.wait_line("stele: api ready", LIMIT)?;
    let total = seconds(field(&line, "tsc")?);
    let phases = if ours { phases(&vm, total)? } else { Vec::new() };
    Ok((total, phases))
}

/// The phases of the boot record: each ends where the next one begins, and the last with the API's answer.
fn phases(vm: &Vm, total: f64) -> Result<Vec<(String, f64)>> {
    let record = Apictl::of(vm)?.get("boot-record", "boot")?;
    let phases = record["value"]["phases"].as_array().context("no phases in the boot record")?;
    let begins =
        |phase: &serde_json::Value| Some((phase["name"].as_str()?.to_owned(), seconds(phase["tsc"].as_u64()?)));
    let known: Vec<(String, f64)> = phases.iter().filter_map(begins).collect();
    let ends = known.iter().skip(1).map(|(_, begin)| *begin).chain([total]);
    Ok(known.iter().zip(ends).map(|((name, begin), end)| (name.clone(), end - begin)).collect())
}

/// The number after `name=` in a console line.
pub(crate) fn field(line: &str, name: &str) -> Result<u64> {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Ok(value.with_context(|| format!("no {name}= in '{line}'"))?.parse()?)
}

/// The guest's counter is virtual nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "seconds with two digits are printed")]
fn seconds(tsc: u64) -> f64 {
    tsc as f64 / 1e9
}
