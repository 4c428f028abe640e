//! `imager push`: an installer image with its signatures into a registry.

use std::path::Path;

use anyhow::bail;
use config::image::Place;

use crate::commands::access::{self, Access};
use crate::oci::push::Target;

/// Options of `imager push`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to: HOST[:PORT]/REPOSITORY[:TAG]; without a tag the one in the layout's index is taken, which is the version
    to: String,
    /// The folder with the OCI layout
    #[arg(long, default_value = "_out/stele-amd64.oci")]
    layout: String,
    #[command(flatten)]
    access: Access,
}

/// Runs it.
///
/// # Errors
/// When the layout cannot be read, or the registry refuses.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let from = access::image(&args.layout)?;
    let Place::Layout { path } = &from.place else { bail!("{} is no folder with an OCI layout", args.layout) };
    let to = access::image(&args.to)?;
    let Place::Registry { host, .. } = &to.place else { bail!("{} is in no registry", args.to) };
    if to.digest.is_some() {
        bail!("the digest of {} comes from the image: name a tag", args.to);
    }
    let mut target = Target::new(&to, &args.access.endpoint(host)?)?;
    let tag = match &to.tag {
        Some(tag) => tag.clone(),
        None => Target::tag(Path::new(path), from.tag.as_deref())?,
    };
    let digest = access::run(async { Ok(target.layout(Path::new(path), from.tag.as_deref(), &tag).await?) })?;
    println!("{to}: {tag} is {digest} ({} blobs pushed, {} were there)", target.pushed, target.there);
    Ok(())
}
