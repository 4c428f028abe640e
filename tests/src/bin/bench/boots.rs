//! From power-on to the API's answer, in instruction-counted virtual time.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts::{self, Image},
    child,
    scratch::Scratch,
    vm::{Disk, Spec, Vm},
};

use crate::configured::Configured;

/// Counting costs two to three times the work of a plain boot, more with a TPM.
const LIMIT: Duration = Duration::from_secs(900);

/// A machine with a disk waits for it while it starts. Meanwhile virtual time jumps from timer to timer, the farther the
/// busier this host is; that only adds. So it is started until two boots agree this well, at most so often.
const AGREE: f64 = 0.01;
const MOST: usize = 5;

/// How a machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `-kernel/-initrd`, without anything that disks could hang on.
    Kernel,
    /// The same with a SATA controller and no disk: nobody says that there is no META, so its drivers are loaded first.
    KernelSata,
    /// A UKI by UEFI firmware and our loader; the baseline has no loader.
    Uki,
    /// The same with the UKI in the loader's place.
    UkiWithoutLoader,
    /// The same of a machine that was configured before; the baseline is that of [`Way::Uki`] once more.
    UkiConfigured,
    /// The same without the SATA controller that this kind of machine has otherwise.
    UkiConfiguredAlone,
    /// The same with a TPM 2.0.
    UkiTpm,
}

impl Way {
    pub(crate) const ALL: [Self; 7] = [
        Self::Kernel,
        Self::KernelSata,
        Self::Uki,
        Self::UkiWithoutLoader,
        Self::UkiConfigured,
        Self::UkiConfiguredAlone,
        Self::UkiTpm,
    ];

    fn is_configured(self) -> bool {
        matches!(self, Self::UkiConfigured | Self::UkiConfiguredAlone)
    }

    /// What takes the SATA controller away that this kind of machine has.
    fn extra(self) -> Vec<String> {
        let alone = matches!(self, Self::Kernel | Self::UkiConfiguredAlone);
        if alone { vec!["-machine".into(), "sata=off".into()] } else { Vec::new() }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel and initramfs, no SATA controller",
            Self::KernelSata => "kernel and initramfs, empty SATA controller",
            Self::Uki => "UKI by firmware, virtio disk",
            Self::UkiWithoutLoader => "UKI by firmware, virtio disk, without our loader",
            Self::UkiConfigured => "UKI by firmware, virtio disk, configured",
            Self::UkiConfiguredAlone => "UKI by firmware, virtio disk, configured, no SATA controller",
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
    let (product, baseline) = (artifacts::product_image(kernel), artifacts::baseline_image(kernel));
    eprintln!("==> a machine is configured, {kernel} kernel");
    let configured = Configured::new(&product, &[])?;
    let folder = Scratch::new()?;
    let without_loader = without_loader(&product, folder.path())?;
    let mut figures = Vec::new();
    for way in Way::ALL {
        eprintln!("==> boot, {kernel} kernel, {}", way.name());
        let baseline = until_ready(&Vm::start(&spec(&baseline, way)?)?)?;
        let (stele, phases) = settled(|| {
            let vm = match way {
                Way::UkiConfigured | Way::UkiConfiguredAlone => configured.start(way.extra())?,
                Way::UkiWithoutLoader => {
                    let disks = vec![Disk::of(&without_loader)];
                    Vm::start(&Spec { disks, ..spec(&product, way)? })?
                }
                _ => Vm::start(&spec(&product, way)?)?,
            };
            let stele = until_ready(&vm)?;
            let apictl = if way.is_configured() { configured.apictl() } else { Apictl::of(&vm)? };
            Ok((stele, phases(&apictl)?))
        })?;
        eprintln!("    {stele:.2} s, baseline {baseline:.2} s");
        figures.push(Figure { kernel: kernel.into(), way, stele, baseline, phases: lengths(&phases, stele) });
    }
    Ok(figures)
}

/// The quickest of several boots: see [`AGREE`].
pub(crate) fn settled<T>(boot: impl Fn() -> Result<(f64, T)>) -> Result<(f64, T)> {
    let mut best = boot()?;
    for _ in 1..MOST {
        let next = boot()?;
        let agree = (next.0 - best.0).abs() < best.0 * AGREE;
        eprintln!("    {:.2} s, {:.2} s", best.0, next.0);
        if next.0 < best.0 {
            best = next;
        }
        if agree {
            break;
        }
    }
    Ok(best)
}

pub(crate) fn spec(image: &Image, way: Way) -> Result<Spec> {
    let spec = match way {
        Way::Kernel | Way::KernelSata => Spec::kernel(image),
        Way::Uki | Way::UkiWithoutLoader | Way::UkiConfigured | Way::UkiConfiguredAlone | Way::UkiTpm => {
            Spec::disk(image)?
        }
    };
    Ok(Spec { counted: true, tpm: way == Way::UkiTpm, extra: way.extra(), ..spec })
}

/// The image's disk with its UKI where the firmware looks first.
fn without_loader(image: &Image, folder: &Path) -> Result<PathBuf> {
    // The EFI partition begins there (installer/src/disk.rs).
    const ESP: u64 = 1 << 20;
    let raw = folder.join("without-loader.raw");
    let mut copy = child::free("cp");
    copy.arg("--sparse=always").args([&image.raw()?, &raw]);
    let mut put = child::free("mcopy");
    put.env("MTOOLS_SKIP_CHECK", "1").arg("-o").arg("-i").arg(format!("{}@@{ESP}", raw.display()));
    put.arg(image.uki()?).arg("::/EFI/BOOT/BOOTX64.EFI");
    for mut command in [copy, put] {
        let output = command.output().with_context(|| format!("{command:?}; run `make setup`"))?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(raw)
}

/// Virtual seconds from power-on to the API's answer.
pub(crate) fn until_ready(vm: &Vm) -> Result<f64> {
    Ok(seconds(field(&vm.wait_line("stele: api ready", LIMIT)?, "tsc")?))
}

/// When each phase of the boot record begins.
fn phases(apictl: &Apictl) -> Result<Vec<(String, f64)>> {
    // Virtual time runs ahead of a slow client: a call may be given up for being late.
    let told = |record: &serde_json::Value| record["value"]["phases"].is_array();
    let record = apictl.wait_for("boot-record", "boot", "the phases of the boot", told)?;
    let phases = record["value"]["phases"].as_array().context("no phases in the boot record")?;
    let begins =
        |phase: &serde_json::Value| Some((phase["name"].as_str()?.to_owned(), seconds(phase["tsc"].as_u64()?)));
    Ok(phases.iter().filter_map(begins).collect())
}

/// Each phase ends where the next one begins, and the last with the API's answer.
fn lengths(phases: &[(String, f64)], total: f64) -> Vec<(String, f64)> {
    let ends = phases.iter().skip(1).map(|(_, begin)| *begin).chain([total]);
    phases.iter().zip(ends).map(|((name, begin), end)| (name.clone(), end - begin)).collect()
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
