//! The documents of an OCI image (image specification 1.1) as far as they are used here, read strictly: of the expected media
//! type, with SHA-256 only, with few entries.

use std::collections::BTreeMap;

use config::image::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// An index: manifests by platform.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A manifest: configuration and layers.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What index and manifest of ours say that they are.
pub const ARTIFACT: &str = "application/vnd.stele.installer.v1";
/// The Stele manifest.
pub const CONFIG: &str = "application/vnd.stele.manifest.v1+json";
/// Of the configuration of a signature's manifest.
pub const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A signature's payload.
pub const SIGNATURE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature itself, of the payload's layer.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// In the index of a layout: the tag.
pub const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// Of a layer: the file's name.
pub const TITLE_ANNOTATION: &str = "org.opencontainers.image.title";

/// The largest of these documents that is read: ours have two kilobytes.
pub const LARGEST: u64 = 256 * 1024;
/// The most entries of a list: architectures, parts, signatures.
pub const MOST: usize = 64;

/// The media type of a part's layer.
#[must_use]
pub fn layer_type(part: &str) -> String {
    format!("application/vnd.stele.{part}.v1")
}

/// Points to a blob or a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it points to.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What it is when it is no container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What an image is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// As Go names it: `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
}

/// Manifests by platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2.
    pub schema_version: u32,
    /// [`INDEX`].
    pub media_type: String,
    /// [`ARTIFACT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// One for each architecture.
    pub manifests: Vec<Descriptor>,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Configuration and layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// [`MANIFEST`].
    pub media_type: String,
    /// [`ARTIFACT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The Stele manifest.
    pub config: Descriptor,
    /// One for each part.
    pub layers: Vec<Descriptor>,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// It is not what is expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such JSON.
    #[error("it is not well-formed: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else than expected.
    #[error("its media type is {found}, expected {wanted}")]
    Type {
        /// What it says.
        found: String,
        /// What is expected.
        wanted: &'static str,
    },
    /// A future version.
    #[error("its schema version is {0}, expected 2")]
    Schema(u32),
    /// Too many.
    #[error("it has more than {MOST} entries")]
    Many,
    /// Too long.
    #[error("it has more than {LARGEST} bytes")]
    Large,
}

/// What is common to index and manifest, looked at first: who names the wrong image gets to know what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
}

fn read<T: DeserializeOwned>(bytes: &[u8], wanted: &'static str) -> Result<T, Error> {
    if bytes.len() as u64 > LARGEST {
        return Err(Error::Large);
    }
    let head: Head = serde_json::from_slice(bytes)?;
    if head.media_type != wanted {
        let found = if head.media_type.is_empty() { "not said".to_owned() } else { printable(&head.media_type) };
        return Err(Error::Type { found, wanted });
    }
    if head.schema_version != 2 {
        return Err(Error::Schema(head.schema_version));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// A word of somebody else's, fit for a message.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(100).collect()
}

impl Index {
    /// Reads one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let index: Self = read(bytes, INDEX)?;
        if index.manifests.len() > MOST { Err(Error::Many) } else { Ok(index) }
    }
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let manifest: Self = read(bytes, MANIFEST)?;
        if manifest.layers.len() > MOST { Err(Error::Many) } else { Ok(manifest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_expected_is_read() {
        let hex = "0".repeat(64);
        let blob = format!(r#"{{"mediaType":"x","digest":"sha256:{hex}","size":1}}"#);
        let manifest = |kind: &str, layers: usize| {
            let layers = vec![blob.as_str(); layers].join(",");
            format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{blob},"layers":[{layers}],"more":1}}"#)
        };
        let read = Manifest::parse(manifest(MANIFEST, 2).as_bytes()).unwrap();
        assert_eq!((read.layers.len(), read.config.size), (2, 1));
        for (text, wanted) in [
            (manifest(INDEX, 1), "its media type is application/vnd.oci.image.index.v1+json, expected"),
            (manifest(MANIFEST, MOST + 1), "more than 64 entries"),
            (manifest(MANIFEST, 1).replace("n\":2", "n\":1"), "schema version is 1"),
            (manifest(MANIFEST, 1).replace("sha256:", "sha512:"), "not well-formed"),
            (manifest(MANIFEST, 1).replace("\"more\"", "\"layers\""), "duplicate"),
            (manifest(MANIFEST, 1).replace("\"size\":1", "\"size\":-1"), "not well-formed"),
            (r#"{"schemaVersion":2}"#.to_owned(), "media type is not said"),
            (" ".repeat(256 * 1024 + 1), "more than 262144 bytes"),
            ("[".repeat(9999), "not well-formed"),
        ] {
            let said = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}");
        }
    }

    fuzz::targets! {
        oci_index: |bytes| drop(Index::parse(bytes)),
        oci_manifest: |bytes| drop(Manifest::parse(bytes)),
    }
}
