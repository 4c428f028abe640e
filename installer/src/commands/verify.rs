//! `imager verify`: looks at an installer image as a node would, every byte of it.

use std::path::PathBuf;

use config::image::pull::Key;

use crate::commands::access::{self, Access};
use crate::keys;
use crate::oci::verify;

/// Options of `imager verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder with an OCI layout, or HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]
    #[arg(default_value = "_out/stele-amd64.oci")]
    image: String,
    /// Public key that may have signed it, instead of the development key (PEM)
    #[arg(long)]
    key: Vec<PathBuf>,
    /// Architecture whose parts are looked at
    #[arg(long, default_value = "amd64")]
    arch: String,
    #[command(flatten)]
    access: Access,
}

/// Runs it.
///
/// # Errors
/// What a node would refuse it for, and what to do.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let files = if args.key.is_empty() { vec![keys::image_development()?.public] } else { args.key.clone() };
    let key = |path: &PathBuf| anyhow::Ok(Key { name: path.display().to_string(), pem: access::text(path)? });
    let trusted = files.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let image = access::image(&args.image)?;
    let endpoints = args.access.endpoints(&image)?;
    let work = tempfile::tempdir()?;
    let looked = access::run(async { Ok(verify::image(&image, &endpoints, &trusted, &args.arch, work.path()).await) })?;
    match looked {
        Ok(found) => {
            let manifest = found.manifest;
            println!("{image}: {} {}, {}", manifest.name, manifest.version, found.digest);
            println!("signed by {}; {} parts for {} are whole", found.signed_by, manifest.parts.len(), args.arch);
            Ok(())
        }
        Err(why) => {
            let refusal = why.refusal();
            anyhow::bail!("{}\n{}", refusal.message, refusal.remedy)
        }
    }
}
