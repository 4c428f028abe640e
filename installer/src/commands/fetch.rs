//! `imager fetch`: the pinned packages into the cache.

use std::path::Path;

use crate::fetch;
use crate::lock::Lock;
use crate::spec::Kernel;

/// Options of `imager fetch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what an image with this kernel needs
    #[arg(long)]
    kernel: Option<Kernel>,
}

/// Runs it.
///
/// # Errors
/// When a package cannot be had.
pub fn run(source: &Path, args: &Args) -> anyhow::Result<()> {
    let lock = Lock::load(source)?;
    let fetched = match args.kernel {
        Some(kernel) => fetch::ensure(lock.needed(kernel))?,
        None => fetch::ensure(&lock.packages)?,
    };
    eprintln!("{fetched} packages fetched, {} in {}", lock.packages.len(), crate::cache::dir().join("debs").display());
    Ok(())
}
