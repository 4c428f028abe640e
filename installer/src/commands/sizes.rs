//! `imager sizes`: how large the UKI is, and each part of it.

use std::path::PathBuf;

use anyhow::Context;

use crate::progress::size;
use crate::{inspect, pe, uki};

/// Options of `imager sizes`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The UKI
    #[arg(default_value = "_out/stele-amd64.efi")]
    uki: PathBuf,
    /// As JSON, in bytes
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// When the UKI cannot be read.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let bytes = std::fs::read(&args.uki).with_context(|| format!("cannot read {}", args.uki.display()))?;
    let mut rows = vec![("uki".to_owned(), bytes.len())];
    for section in pe::sections(&bytes).with_context(|| args.uki.display().to_string())? {
        rows.push((section.name, section.len));
    }
    for (name, _, content) in inspect::initramfs(pe::section(&bytes, uki::INITRD)?)? {
        if !content.is_empty() {
            rows.push((format!("{}/{name}", uki::INITRD), content.len()));
        }
    }
    if args.json {
        let map: serde_json::Map<_, _> = rows.into_iter().map(|(name, len)| (name, len.into())).collect();
        println!("{}", serde_json::to_string_pretty(&map)?);
    } else {
        for (name, len) in rows {
            println!("{name:<36} {:>12}  {len:>10}", size(len));
        }
    }
    Ok(())
}
