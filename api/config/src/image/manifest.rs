//! The Stele manifest: what is in an installer image, and which machines can take it. Written by `imager oci`, read by
//! `installer pull` before anything large is fetched, and shown by machined.
//!
//! Within one `format` fields may be added, which older readers ignore; whatever an older reader must not ignore raises it.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::Digest;

/// The format that is written here, and the only one that is read.
pub const FORMAT: u32 = 1;

/// What an installer image says about itself, for one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Of the product: `stele-amd64`, `stele-metal-amd64`.
    pub name: String,
    /// Semantic Versioning, as all versions here.
    pub version: Version,
    /// Commit it was built of.
    pub commit: String,
    /// The commit's time, RFC 3339.
    pub built: String,
    /// `amd64`.
    pub arch: String,
    /// The kernel's `uname -r`.
    pub kernel: String,
    /// A machine that blessed this version takes no version below this one.
    pub floor: Version,
    /// The oldest version that can be upgraded to this one.
    pub minimum: Version,
    /// What it reads as `apiVersion` of documents.
    pub schema: Vec<String>,
    /// The newest version of each format on disk that it reads and writes: `meta`, `bootState`, `state`, `esp`. It reads all
    /// older ones, too.
    pub formats: BTreeMap<String, u32>,
    /// Version of the loader, when there is one among the parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<Version>,
    /// The files, each a layer of the image: `uki`, `recovery`, `loader`, `installer`.
    pub parts: Vec<Part>,
}

/// One file of an installer image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// A word of a-z, 0-9 and `-`; also in the layer's media type, `application/vnd.stele.NAME.v1`.
    pub name: String,
    /// SHA-256, `sha256:` and 64 hex digits: the digest of the layer.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl Manifest {
    /// The part of a name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// Bytes of all parts together.
    pub fn size(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.size))
    }
}
