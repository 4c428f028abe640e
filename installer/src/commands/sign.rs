//! `imager sign`: signs an installer image, in a layout or in a registry, as `cosign sign --key` does.

use std::path::{Path, PathBuf};

use config::image::Place;

use crate::commands::access::{self, Access};
use crate::keys;
use crate::oci::push::Target;
use crate::oci::sign::{self, Signer};

/// Options of `imager sign`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder with an OCI layout, or HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]
    #[arg(default_value = "_out/stele-amd64.oci")]
    image: String,
    /// Key to sign with instead of the development key (ECDSA P-256, PEM)
    #[arg(long)]
    key: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// Runs it.
///
/// # Errors
/// When the key or the image cannot be used.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let key = match &args.key {
        Some(key) => key.clone(),
        None => keys::image_development()?.key,
    };
    let signer = Signer::load(&key)?;
    let image = access::image(&args.image)?;
    let (digest, new) = match &image.place {
        Place::Layout { path } => sign::layout(Path::new(path), image.tag.as_deref(), &signer, "")?,
        Place::Registry { host, .. } => {
            let mut target = Target::new(&image, &args.access.endpoint(host)?)?;
            access::run(async { Ok(target.sign(&image, &signer).await?) })?
        }
    };
    println!("{image}: {digest} {}", if new { "signed" } else { "was signed with this key before" });
    Ok(())
}
