//! `imager build`: everything for one kernel into one folder.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::lock::Lock;
use crate::progress::{Progress, size};
use crate::sign::{self, Key};
use crate::spec::{self, Kernel};
use crate::system::{self, Edition};
use crate::{cache, disk, efi_program, fetch, keys, sums};

/// Options of `imager build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which of Debian's kernels
    #[arg(long, value_enum, default_value = "cloud")]
    kernel: Kernel,
    /// Folder with the static programs init, machined and gateway
    #[arg(long)]
    binaries: PathBuf,
    /// Folder whose files are laid over the root filesystem (for test images)
    #[arg(long, requires = "name")]
    overlay: Option<PathBuf>,
    /// Documents that a machine takes as its first configuration, with nobody at it; everybody who has the image can read
    /// them
    #[arg(long, value_name = "FILE", requires = "name")]
    config: Option<PathBuf>,
    /// Certificate of the rescue authority (PEM): short-lived certificates of it are let in when a machine cannot read its
    /// configuration
    #[arg(long, value_name = "FILE", requires = "name")]
    rescue: Option<PathBuf>,
    /// Public key whose installer images a machine takes, instead of the development key (PEM); its name is the file's
    #[arg(long, value_name = "FILE")]
    image_key: Vec<PathBuf>,
    /// More words for the kernel's command line
    #[arg(long, default_value = "")]
    cmdline: String,
    /// Where the results go
    #[arg(long, default_value = "_out")]
    out: PathBuf,
    /// First part of the results' names [default: stele-amd64, or stele-metal-amd64 with the generic kernel]
    #[arg(long)]
    name: Option<String>,
    /// Key to sign with instead of the development key (PEM)
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Cargo.toml of the workspace that the programs are from, asked for the SBOM's crates [default: the checkout's]
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Certificate of --key (PEM)
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// The step that failed, and what to do.
pub fn run(source: &Path, args: &Args) -> anyhow::Result<()> {
    let name = args.name.as_deref().unwrap_or(args.kernel.product());
    let own = args.overlay.is_some() || args.config.is_some() || args.rescue.is_some();
    if own && [Kernel::Cloud, Kernel::Generic].iter().any(|kernel| kernel.product() == name) {
        anyhow::bail!(
            "an image with an overlay, --config or --rescue is not the product: give it a name other than {name}"
        );
    }
    let mut progress = Progress::new(8);
    let image = spec::load(source)?;
    let lock = Lock::load(source)?;
    let fetched = fetch::ensure(lock.needed(args.kernel))?;
    progress.step("packages", &format!("{} pinned, {fetched} fetched", lock.needed(args.kernel).count()));

    let image_keys =
        if args.image_key.is_empty() { vec![keys::image_development()?.public] } else { args.image_key.clone() };
    let parts = system::Parts {
        source,
        binaries: &args.binaries,
        kernel: args.kernel,
        overlay: args.overlay.as_deref(),
        config: args.config.as_deref(),
        rescue: args.rescue.as_deref(),
        image_keys: &image_keys,
        cmdline: &args.cmdline,
    };
    let full = system::build(&image, &lock, &parts, Edition::Full)?;
    progress.step("rootfs.erofs", &format!("{} files, {}", full.tree.files().count(), size(full.rootfs.len())));
    let recovery = system::build(&image, &lock, &parts, Edition::Recovery)?;

    let key = match (&args.key, &args.cert) {
        (Some(key), Some(cert)) => Key { key: key.clone(), cert: cert.clone() },
        _ => keys::development()?,
    };
    let programs = [
        (format!("{name}.efi"), sign::sign(&full.uki, &key)?),
        (format!("{name}.recovery.efi"), sign::sign(&recovery.uki, &key)?),
        (format!("{name}.loader.efi"), efi_program::build(&args.binaries, &key)?),
    ];
    let [(_, uki), (_, rescue), (_, loader)] = &programs;
    let raw = format!("{name}.raw");
    let sboms = [
        (format!("{name}.spdx.json"), name.to_owned()),
        (format!("{name}.recovery.spdx.json"), format!("{name}.recovery")),
    ];
    let names: Vec<String> = programs
        .iter()
        .map(|(name, _)| name)
        .chain([&raw])
        .chain(sboms.iter().map(|(file, _)| file))
        .cloned()
        .collect();
    // everything else is made of these: nothing to do when they are the ones that are there
    let is_there = |(name, bytes): &(String, Vec<u8>)| sums::says(&args.out, name, &cache::sha256(bytes), &names);
    if programs.iter().all(is_there) {
        progress.end(&format!("{name} is up to date in {}", args.out.display()));
        return Ok(());
    }
    for (name, bytes) in &programs {
        let file = args.out.join(name);
        cache::save(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        progress.step(name, &size(bytes.len()));
    }

    let disk = args.out.join(&raw);
    let chain = disk::Chain { loader, uki, recovery: Some(rescue) };
    disk::write(&disk, &disk::Content::Chain(chain), 512)?;
    progress.step(&raw, &size(usize::try_from(std::fs::metadata(&disk)?.len())?));

    let manifest = args.manifest.clone().unwrap_or_else(|| source.join("../Cargo.toml"));
    let mut counts = Vec::new();
    for ((file, name), (system, bytes)) in sboms.iter().zip([(&full, uki), (&recovery, rescue)]) {
        let (sbom, inside) = system.sbom(name, &cache::sha256(bytes), &image, &manifest)?;
        let file = args.out.join(file);
        cache::save(&file, &serde_json::to_vec_pretty(&sbom)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        counts.push(format!("{} files, {} packages, {} linked", inside.files, inside.packages, inside.linked));
    }
    progress.step(&format!("{name}.spdx.json"), &counts.join("; recovery "));
    sums::update(&args.out, &names).context("cannot write SHA256SUMS")?;
    progress.step("SHA256SUMS", "");
    let release = &full.release;
    progress.end(&format!("built {name} ({}, commit {}) in {}", release.version, release.commit, args.out.display()));
    Ok(())
}
