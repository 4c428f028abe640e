//! Looks at an image as a node would, where it is: signature, manifests, every byte of every part.

use std::io;
use std::path::Path;
use std::time::Duration;

use config::image::pull::{Check, Endpoint, Key, Verify};
use config::image::{Digest, Manifest, Part, Reference};

use super::failure::Failure;
use super::fetch::{Counted, Fetch};
use super::folder::Folder;
use super::key::Public;
use super::report::Report;
use super::{resolve, source};
use crate::whole;

const STALL: Duration = Duration::from_secs(60);

/// What was found.
pub struct Verified {
    /// Of the index.
    pub digest: Digest,
    /// Name of the key.
    pub signed_by: String,
    /// The Stele manifest.
    pub manifest: Manifest,
}

/// Verifies it, for one architecture; `work` is an empty folder for the parts.
///
/// # Errors
/// The first check that a node would refuse it for.
pub async fn image(
    image: &Reference,
    endpoint: &[Endpoint],
    keys: &[Key],
    architecture: &str,
    work: &Path,
) -> Result<Verified, Failure> {
    let no_key = |key: &Key| Failure::new(Check::Request, format!("{} is no ECDSA P-256 public key", key.name));
    let keys = keys.iter().map(|key| Public::parse(key).ok_or_else(|| no_key(key))).collect::<Result<Vec<_>, _>>()?;
    let mut sources = source::all(image, endpoint, STALL)?;
    let found = resolve::resolve(image, &mut sources, &keys, Verify::Require, architecture).await?;
    let folder = Folder::open(work)?;
    let parts: Vec<&Part> = found.manifest.parts.iter().collect();
    folder.room(&parts, 0)?;
    let counted = Counted { done: 0, total: found.manifest.size(), fetched: 0 };
    let mut report = Report::new(io::sink());
    let mut fetch = Fetch {
        folder: &folder,
        sources: &mut sources,
        first: found.source,
        report: &mut report,
        stall: STALL,
        counted,
    };
    for part in parts {
        fetch.part(part).await?;
        whole::check(&part.name, &folder.file(part))
            .map_err(|why| Failure::new(Check::Program, format!("{}: {why}", part.name)))?;
    }
    let signed_by = found.signed_by.unwrap_or_default();
    Ok(Verified { digest: found.digest, signed_by, manifest: found.manifest })
}
