//! `imager extract`: a part of a UKI into a file, for booting by kernel and initrd or over the network.

use std::path::PathBuf;

use anyhow::Context;

use crate::{cache, pe, uki};

/// Options of `imager extract`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The UKI
    #[arg(long)]
    uki: PathBuf,
    /// Which part
    #[arg(long, value_enum)]
    section: Section,
    /// Where to write it
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Section {
    Linux,
    Initrd,
    Cmdline,
    Osrel,
    Uname,
}

/// Runs it.
///
/// # Errors
/// When the UKI cannot be read, has no such part, or the file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let name = match args.section {
        Section::Linux => uki::LINUX,
        Section::Initrd => uki::INITRD,
        Section::Cmdline => uki::CMDLINE,
        Section::Osrel => uki::OSREL,
        Section::Uname => uki::UNAME,
    };
    let bytes = std::fs::read(&args.uki).with_context(|| format!("cannot read {}", args.uki.display()))?;
    let content = pe::section(&bytes, name).with_context(|| format!("{}, section {name}", args.uki.display()))?;
    cache::save(&args.output, content).with_context(|| format!("cannot write {}", args.output.display()))
}
