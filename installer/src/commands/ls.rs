//! `imager ls`: the files inside a finished UKI, with type, mode and size.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::inspect;
use crate::lock::Lock;

/// Options of `imager ls`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The UKI
    #[arg(default_value = "_out/stele-amd64.efi")]
    uki: PathBuf,
    /// Only files with an executable bit, by path alone
    #[arg(long)]
    executables: bool,
}

/// Runs it.
///
/// # Errors
/// When the UKI cannot be read.
pub fn run(source: &Path, args: &Args) -> anyhow::Result<()> {
    let bytes = std::fs::read(&args.uki).with_context(|| format!("cannot read {}", args.uki.display()))?;
    let lock = Lock::load(source)?;
    let mut out = std::io::stdout().lock();
    for entry in inspect::list(&bytes, &lock).with_context(|| args.uki.display().to_string())? {
        let kind = match entry.mode & 0o170_000 {
            0o040_000 => 'd',
            0o120_000 => 'l',
            _ => '-',
        };
        if args.executables {
            if kind == '-' && entry.mode & 0o111 != 0 {
                writeln!(out, "{}", entry.path)?;
            }
            continue;
        }
        let target = entry.target.map(|target| format!(" -> {target}")).unwrap_or_default();
        writeln!(out, "{kind}{:04o} {:>10} {}{target}", entry.mode & 0o7777, entry.size, entry.path)?;
    }
    Ok(())
}
