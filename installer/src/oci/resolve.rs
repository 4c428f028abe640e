//! From a reference to a Stele manifest that is known to be the signed one: index, signature, manifest, configuration. None of
//! them is large.

use config::image::pull::{Check, Verify};
use config::image::{Digest, FORMAT, Manifest, Reference};

use super::failure::Failure;
use super::key::Public;
use super::source::Source;
use super::spec::{self, CONFIG, Descriptor, Index, LARGEST, MANIFEST, SIGNATURE, SIGNATURE_ANNOTATION};
use super::{fits, payload};

/// An image that was found.
pub(super) struct Resolved {
    /// Of the index.
    pub(super) digest: Digest,
    /// Name of the key that signed it.
    pub(super) signed_by: Option<String>,
    /// What is wrong with its signature, where that is no reason to refuse.
    pub(super) warning: Option<Failure>,
    /// The Stele manifest.
    pub(super) manifest: Manifest,
    /// Name of where the index came from.
    pub(super) endpoint: String,
    /// Which of the sources that is.
    pub(super) source: usize,
}

/// Asks one source after the other.
pub(super) async fn resolve(
    image: &Reference,
    sources: &mut [Source],
    keys: &[Public],
    verify: Verify,
    architecture: &str,
) -> Result<Resolved, Failure> {
    let mut failures = Vec::new();
    let mut refused: Vec<Digest> = Vec::new();
    for at in 0..sources.len() {
        let endpoint = sources[at].name();
        let found = match sources[at].root(image).await {
            Ok((digest, bytes)) => Index::parse(&bytes).map(|index| (digest, index)).map_err(|why| no_index(&why)),
            Err(why) => Err(why),
        };
        let (digest, index) = match found {
            // somebody before had the same, and nobody has a signature for it
            Ok((digest, _)) if refused.contains(&digest) => continue,
            Ok(found) => found,
            Err(why) => {
                failures.push((endpoint, why));
                continue;
            }
        };
        let (signed_by, warning) = match (signature(&digest, sources, at, keys).await, verify) {
            (Ok(name), _) => (Some(name), None),
            (Err(why), Verify::Warn) => (None, Some(why)),
            (Err(why), Verify::Require) => {
                failures.push((endpoint, why));
                refused.push(digest);
                continue;
            }
        };
        let manifest = stele(&index, sources, at, architecture).await?;
        return Ok(Resolved { digest, signed_by, warning, manifest, endpoint, source: at });
    }
    Err(Failure::of_all(failures))
}

fn no_index(why: &spec::Error) -> Failure {
    let failure = Failure::new(Check::Format, format!("this is not the index of an installer image: {why}"));
    match why {
        spec::Error::Type { found, .. } if found == MANIFEST => {
            failure.remedy("name the index, and copy it whole: `skopeo copy --all --preserve-digests`")
        }
        _ => failure,
    }
}

/// The name of a key that signed this digest. A signature proves itself: whichever source has one will do, the one that had the
/// index first.
async fn signature(digest: &Digest, sources: &mut [Source], first: usize, keys: &[Public]) -> Result<String, Failure> {
    if keys.is_empty() {
        return Err(Failure::new(Check::Signature, "no key is trusted here to sign images"));
    }
    let mut failures: Vec<Failure> = Vec::new();
    for at in std::iter::once(first).chain((0..sources.len()).filter(|&at| at != first)) {
        match signature_at(digest, &mut sources[at], keys).await {
            Ok(name) => return Ok(name),
            Err(why) => failures.push(why),
        }
    }
    let again = failures.iter().any(|one| one.again);
    // the first one had the image, so it says most about the signature
    let message = failures.into_iter().next().map_or_else(String::new, |one| one.message);
    Err(Failure { again, ..Failure::new(Check::Signature, format!("{digest} is not signed: {message}")) })
}

async fn signature_at(digest: &Digest, source: &mut Source, keys: &[Public]) -> Result<String, Failure> {
    let refused = |why: &str| Failure::new(Check::Signature, why.to_owned());
    let bytes = source.tagged(&digest.signature_tag()).await?;
    let manifest =
        spec::Manifest::parse(&bytes).map_err(|why| refused(&format!("its signature cannot be read: {why}")))?;
    let mut closest = "there is no signature of the form that cosign writes with a key";
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == SIGNATURE) {
        let Some(signature) = layer.annotations.get(SIGNATURE_ANNOTATION).and_then(|text| decoded(text)) else {
            continue;
        };
        if layer.size > payload::LARGEST {
            continue;
        }
        let text = source.small(&layer.digest, layer.size).await?;
        match keys.iter().find(|key| key.signed(&text, &signature)) {
            Some(key) if payload::digest(&text).as_ref() == Some(digest) => return Ok(key.name.clone()),
            Some(_) => closest = "a trusted key signed something else, which was put here",
            None => closest = "it was signed with a key that is not trusted here",
        }
    }
    Err(refused(closest))
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    // an ECDSA P-256 signature has some 72 bytes
    Some(base64)
        .filter(|text| text.len() < 256)
        .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok())
}

/// The Stele manifest for this architecture.
async fn stele(index: &Index, sources: &mut [Source], first: usize, architecture: &str) -> Result<Manifest, Failure> {
    let wrong = |why: String| Failure::new(Check::Format, why);
    let descriptor = fits::architecture(index, architecture)?;
    let bytes = any(descriptor, sources, first, true).await?;
    let manifest =
        spec::Manifest::parse(&bytes).map_err(|why| wrong(format!("the manifest for {architecture}: {why}")))?;
    if manifest.config.media_type != CONFIG {
        let found = spec::printable(&manifest.config.media_type);
        return Err(wrong(format!("this is not an installer image: its configuration is {found}, expected {CONFIG}")));
    }
    let bytes = any(&manifest.config, sources, first, false).await?;
    let read = parse(&bytes)?;
    fits::parts(&read, &manifest)?;
    Ok(read)
}

/// The Stele manifest in its own format.
pub(super) fn parse(bytes: &[u8]) -> Result<Manifest, Failure> {
    /// What every format has.
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let wrong = |why: String| Failure::new(Check::Format, format!("the Stele manifest {why}"));
    let head: Head = serde_json::from_slice(bytes).map_err(|error| wrong(format!("is not well-formed: {error}")))?;
    if head.format != FORMAT {
        return Err(wrong(format!("has the format {}, this machine reads {FORMAT}", head.format)));
    }
    serde_json::from_slice(bytes).map_err(|error| wrong(format!("is not well-formed: {error}")))
}

/// A small blob, or a manifest, from whoever has it as it should be.
async fn any(wanted: &Descriptor, sources: &mut [Source], first: usize, manifest: bool) -> Result<Vec<u8>, Failure> {
    if wanted.size > LARGEST {
        return Err(Failure::new(Check::Format, format!("{} is said to have {} bytes", wanted.digest, wanted.size)));
    }
    let mut failures = Vec::new();
    for at in std::iter::once(first).chain((0..sources.len()).filter(|&at| at != first)) {
        let source = &mut sources[at];
        let found = match manifest {
            true => source.manifest(&wanted.digest).await,
            false => source.small(&wanted.digest, wanted.size).await,
        };
        match found {
            Ok(bytes) => return Ok(bytes),
            Err(why) => failures.push((source.name(), why)),
        }
    }
    Err(Failure::of_all(failures))
}

#[cfg(test)]
mod tests {
    use super::*;

    fuzz::targets! {
        stele_manifest: |bytes| drop(parse(bytes)),
    }
}
