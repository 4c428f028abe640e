//! `imager image`: a disk image out of a UKI, in the format a platform wants.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{cache, disk, host, iso, pe, uki};

/// Options of `imager image`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The UKI that the disk starts
    #[arg(long, default_value = "_out/stele-amd64.efi")]
    uki: PathBuf,
    /// The loader in front of it [default: beside the UKI, NAME.loader.efi]
    #[arg(long)]
    loader: Option<PathBuf>,
    /// The recovery system [default: beside the UKI, NAME.recovery.efi]
    #[arg(long)]
    recovery: Option<PathBuf>,
    /// raw (sparse; also for a stick), qcow2 (needs qemu-img), raw compressed with zstd, or a disc for virtual media
    #[arg(long, value_enum, default_value = "raw")]
    format: Format,
    /// Logical sector of the disk it is for: 512 or 4096
    #[arg(long, default_value = "512", value_parser = sector)]
    sector_size: u16,
    /// Where to write it [default: beside the UKI, with the format as its extension]
    #[arg(short, long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Raw,
    Qcow2,
    #[value(name = "raw.zst")]
    RawZst,
    Iso,
}

fn sector(text: &str) -> Result<u16, String> {
    match text {
        "512" => Ok(512),
        "4096" => Ok(4096),
        _ => Err("disks have sectors of 512 or 4096 bytes".to_owned()),
    }
}

/// Runs it.
///
/// # Errors
/// When the UKI cannot be read or the image not written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let beside = |given: &Option<PathBuf>, extension: &str| given.clone().unwrap_or(args.uki.with_extension(extension));
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}; `make image` builds it", path.display()))
    };
    let is_uki = |bytes: &[u8], path: &Path| {
        pe::section(bytes, uki::LINUX).map(drop).with_context(|| format!("{} is not a UKI", path.display()))
    };
    let (loader, recovery) = (beside(&args.loader, "loader.efi"), beside(&args.recovery, "recovery.efi"));
    let (uki, loader, rescue) = (read(&args.uki)?, read(&loader)?, read(&recovery)?);
    is_uki(&uki, &args.uki)?;
    is_uki(&rescue, &recovery)?;
    let chain = disk::Chain { loader: &loader, uki: &uki, recovery: Some(&rescue) };
    let content = disk::Content::Chain(chain);
    let extension = match args.format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
        Format::RawZst => "raw.zst",
        Format::Iso => "iso",
    };
    let output = args.output.clone().unwrap_or_else(|| args.uki.with_extension(extension));
    if args.format == Format::Raw {
        disk::write(&output, &content, args.sector_size)?;
    } else if args.format == Format::Iso {
        let disc = iso::build(&chain).context("cannot make the disc")?;
        let written = cache::replace(&output, 0o644, anyhow::Error::new, |to, _| Ok(to.write_all(&disc)?));
        written.with_context(|| format!("cannot write {}", output.display()))?;
    } else {
        let folder = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut raw = tempfile::NamedTempFile::new_in(folder)?;
        let name = raw.path().to_owned();
        disk::fill(raw.as_file_mut(), &name, &content, args.sector_size)?;
        let written = cache::replace(&output, 0o644, anyhow::Error::new, |to, path| {
            if args.format == Format::Qcow2 {
                host::program("qemu-img", "qemu-utils")
                    .args(["convert", "-f", "raw", "-O", "qcow2"])
                    .args([raw.path(), path])
                    .run()?;
            } else {
                zstd::stream::copy_encode(std::fs::File::open(raw.path())?, to, 3)?;
            }
            Ok(())
        });
        written.with_context(|| format!("cannot write {}", output.display()))?;
    }
    println!("{}", output.display());
    Ok(())
}
