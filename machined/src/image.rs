//! What image runs: `/usr/lib/stele/image.json`, written by the image builder. Read once by `boot`.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where it lies.
pub const FILE: &str = "/usr/lib/stele/image.json";

/// The image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Of Stele.
    pub version: String,
    /// Git commit, empty when unknown.
    #[serde(default)]
    pub commit: String,
    /// RFC 3339.
    #[serde(default)]
    pub built: String,
    /// The same in seconds of Unix time: the clock's floor.
    #[serde(default)]
    pub built_unix: u64,
    /// `amd64`.
    #[serde(default)]
    pub arch: String,
    /// Its kernel's release.
    #[serde(default)]
    pub kernel: String,
    /// Once this version is blessed, none below is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<semver::Version>,
    /// It is the recovery system: smaller, and it changes nothing by itself.
    #[serde(default)]
    pub recovery: bool,
}

/// Why the file tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read what image this is")]
    Read(#[from] std::io::Error),
    /// It is not what the image builder writes.
    #[error("what says which image this is makes no sense")]
    Parse(#[from] serde_json::Error),
}

impl Image {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// What is known without the file: the version this program was built as.
    pub fn unknown() -> Self {
        let empty = String::new;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            version,
            commit: empty(),
            built: empty(),
            built_unix: 0,
            arch: empty(),
            kernel: empty(),
            floor: None,
            recovery: false,
        }
    }
}
