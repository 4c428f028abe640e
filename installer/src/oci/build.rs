//! An installer image as an OCI layout in a folder. Invariant: the same parts give the same bytes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use config::image::{Digest, Manifest, Part};
use serde::Serialize;

use super::failure::Failure;
use super::layout::Layout;
use super::source;
use super::spec::{
    self, ARTIFACT, CONFIG, Descriptor, INDEX, Index, MANIFEST, NAME_ANNOTATION, Platform, TITLE_ANNOTATION, layer_type,
};
use crate::cache;

/// The image cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another layout that was to be taken over.
    #[error("{path}: {cause}")]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is wrong there.
        cause: Failure,
    },
    /// Twice the same.
    #[error("there are two images for {0}: each architecture is there once")]
    Twice(String),
}

/// A part and its content.
pub struct Content {
    /// `uki`.
    pub name: String,
    /// The file's name, for people.
    pub file: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Content {
    /// As the Stele manifest names it.
    #[must_use]
    pub fn part(&self) -> Part {
        Part { name: self.name.clone(), digest: source::digest(&self.bytes), size: self.bytes.len() as u64 }
    }
}

/// Writes the layout: this image, and those of `others` for other architectures. Returns the digest of the index, and whether
/// anything was done: a layout that is there and has this index stays as it is, with its signatures.
///
/// # Errors
/// When a file cannot be read or written, or an architecture is there twice.
pub fn write(
    to: &Path,
    tag: &str,
    stele: &Manifest,
    parts: &[Content],
    others: &[PathBuf],
) -> Result<(Digest, bool), Error> {
    let failed = |cause| Error::Io { path: to.to_owned(), cause };
    let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let new = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(folder)
        .map_err(failed)?;
    let blobs = Blobs::new(new.path())?;
    let mut manifests = vec![manifest(&blobs, stele, parts)?];
    for other in others {
        manifests.extend(take(other, &blobs)?);
    }
    manifests.sort_by_key(architecture);
    if let Some(pair) = manifests.windows(2).find(|pair| architecture(&pair[0]) == architecture(&pair[1])) {
        return Err(Error::Twice(architecture(&pair[0])));
    }
    let index = Index {
        schema_version: 2,
        media_type: INDEX.to_owned(),
        artifact_type: Some(ARTIFACT.to_owned()),
        manifests,
        annotations: annotations(stele),
    };
    let descriptor = blobs.put(INDEX, &json(&index))?;
    let digest = descriptor.digest.clone();
    if Layout::new(to).find(Some(tag)).is_ok_and(|known| known == digest) {
        return Ok((digest, false));
    }
    root(new.path(), vec![named(descriptor, tag)])?;
    match std::fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => std::fs::rename(new.path(), to).map_err(failed)?,
    }
    Ok((digest, true))
}

fn architecture(descriptor: &Descriptor) -> String {
    descriptor.platform.as_ref().map_or_else(String::new, |platform| platform.architecture.clone())
}

fn manifest(blobs: &Blobs, stele: &Manifest, parts: &[Content]) -> Result<Descriptor, Error> {
    let mut layers = Vec::new();
    for part in parts {
        let mut layer = blobs.put(&layer_type(&part.name), &part.bytes)?;
        layer.annotations.insert(TITLE_ANNOTATION.to_owned(), part.file.clone());
        layers.push(layer);
    }
    let manifest = spec::Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        artifact_type: Some(ARTIFACT.to_owned()),
        config: blobs.put(CONFIG, &json(stele))?,
        layers,
        annotations: annotations(stele),
    };
    let mut descriptor = blobs.put(MANIFEST, &json(&manifest))?;
    descriptor.artifact_type = Some(ARTIFACT.to_owned());
    descriptor.platform = Some(Platform { architecture: stele.arch.clone(), os: "linux".to_owned() });
    Ok(descriptor)
}

fn annotations(stele: &Manifest) -> BTreeMap<String, String> {
    let all = [
        ("title", stele.name.clone()),
        ("version", stele.version.to_string()),
        ("revision", stele.commit.clone()),
        ("created", stele.built.clone()),
    ];
    all.into_iter().map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)).collect()
}

/// The manifests of another layout's image, with all that they name.
fn take(from: &Path, blobs: &Blobs) -> Result<Vec<Descriptor>, Error> {
    let wrong = |cause| Error::Layout { path: from.to_owned(), cause };
    let unread = |why: spec::Error| {
        wrong(Failure::new(config::image::pull::Check::Format, format!("this is no installer image: {why}")))
    };
    let layout = Layout::new(from);
    let digest = layout.find(None).map_err(wrong)?;
    let index = Index::parse(&layout.manifest(&digest).map_err(wrong)?).map_err(unread)?;
    for descriptor in &index.manifests {
        let manifest = spec::Manifest::parse(&layout.manifest(&descriptor.digest).map_err(wrong)?).map_err(unread)?;
        for blob in [descriptor, &manifest.config].into_iter().chain(&manifest.layers) {
            let path = layout.path(&blob.digest);
            let bytes = std::fs::read(&path).map_err(|cause| Error::Io { path, cause })?;
            blobs.put("", &bytes)?;
        }
    }
    Ok(index.manifests)
}

/// The blobs of a layout.
pub(super) struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    pub(super) fn new(layout: &Path) -> Result<Self, Error> {
        let folder = layout.join("blobs/sha256");
        std::fs::create_dir_all(&folder).map_err(|cause| Error::Io { path: folder.clone(), cause })?;
        Ok(Self { folder })
    }

    pub(super) fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, Error> {
        let digest = source::digest(bytes);
        let path = self.folder.join(digest.hex());
        cache::save(&path, bytes).map_err(|cause| Error::Io { path, cause })?;
        Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size: bytes.len() as u64,
            artifact_type: None,
            platform: None,
            annotations: BTreeMap::new(),
        })
    }
}

/// With a tag.
pub(super) fn named(mut descriptor: Descriptor, tag: &str) -> Descriptor {
    descriptor.annotations.insert(NAME_ANNOTATION.to_owned(), tag.to_owned());
    descriptor
}

/// What makes a folder with blobs a layout.
pub(super) fn root(layout: &Path, manifests: Vec<Descriptor>) -> Result<(), Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Root {
        schema_version: u32,
        manifests: Vec<Descriptor>,
    }
    // without a media type, as skopeo writes it: copied to a registry and back it is the same
    let root = Root { schema_version: 2, manifests };
    for (name, bytes) in [("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()), ("index.json", json(&root))] {
        let path = layout.join(name);
        cache::save(&path, &bytes).map_err(|cause| Error::Io { path, cause })?;
    }
    Ok(())
}

/// Fields in the order of the type, maps by key: the same every time.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
