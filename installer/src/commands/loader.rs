//! `imager loader`: the loader alone, as the EFI program that lies on a disk.

use std::path::PathBuf;

use anyhow::Context;

use crate::sign::Key;
use crate::{cache, efi_program, keys};

/// Options of `imager loader`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder with the program `loader`
    #[arg(long)]
    binaries: PathBuf,
    /// Where to write it
    #[arg(short, long)]
    output: PathBuf,
    /// Key to sign with instead of the development key (PEM)
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Certificate of --key (PEM)
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// When the program cannot be read, converted, signed or written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let key = match (&args.key, &args.cert) {
        (Some(key), Some(cert)) => Key { key: key.clone(), cert: cert.clone() },
        _ => keys::development()?,
    };
    let loader = efi_program::build(&args.binaries, &key)?;
    cache::save(&args.output, &loader).with_context(|| format!("cannot write {}", args.output.display()))?;
    println!("{}", args.output.display());
    Ok(())
}
