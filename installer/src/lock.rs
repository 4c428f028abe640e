//! `packages.lock`: every package by version, path on a mirror, size and SHA-256. Written by `imager lock` alone.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::Kernel;

/// What a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// Files of it are in the image.
    Image,
    /// The EFI stub.
    Stub,
    /// Runs at build time.
    Tool,
    /// Runs in tests.
    Test,
    /// The small kernel.
    KernelCloud,
    /// The kernel for any hardware.
    KernelGeneric,
}

impl Use {
    /// The use of a kernel's package.
    #[must_use]
    pub const fn kernel(kernel: Kernel) -> Self {
        match kernel {
            Kernel::Cloud => Self::KernelCloud,
            Kernel::Generic => Self::KernelGeneric,
        }
    }
}

/// One pinned package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Binary package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Architecture.
    pub arch: String,
    /// Source package.
    pub source: String,
    /// The source package's version.
    pub source_version: String,
    /// Path on a mirror.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// 64 hex digits.
    pub sha256: String,
    /// What it is for.
    pub uses: Vec<Use>,
}

impl Package {
    /// The file's name in the cache and on the mirror.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Debian suite that the versions are from.
    pub suite: String,
    /// Sorted by name.
    pub packages: Vec<Package>,
}

/// The lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not there or not writable.
    #[error("cannot access {path}; `imager lock` writes it")]
    Access {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Wrong.
    #[error("{path}: {cause}; write it again with `imager lock`")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

const HEAD: &str = "# Written by `imager lock`. Do not edit: change image.yaml and run it again.\n";

impl Lock {
    /// The packages for one use.
    pub fn uses(&self, wanted: Use) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(move |package| package.uses.contains(&wanted))
    }

    /// All that is needed to build with one kernel.
    pub fn needed(&self, kernel: Kernel) -> impl Iterator<Item = &Package> {
        let other = match kernel {
            Kernel::Cloud => Use::KernelGeneric,
            Kernel::Generic => Use::KernelCloud,
        };
        self.packages.iter().filter(move |package| package.uses.iter().any(|&one| one != other && one != Use::Test))
    }

    /// Reads the file in the installer folder.
    ///
    /// # Errors
    /// When it is missing or wrong.
    pub fn load(source: &Path) -> Result<Self, Error> {
        let path = source.join("packages.lock");
        let text = std::fs::read_to_string(&path).map_err(|cause| Error::Access { path: path.clone(), cause })?;
        serde_saphyr::from_str(&text).map_err(|cause| Error::Parse { path, cause: cause.to_string().into() })
    }

    /// Writes the file into the installer folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, source: &Path) -> Result<(), Error> {
        let path = source.join("packages.lock");
        let text =
            serde_saphyr::to_string(self).map_err(|cause| Error::Parse { path: path.clone(), cause: cause.into() })?;
        crate::cache::save(&path, format!("{HEAD}{text}").as_bytes()).map_err(|cause| Error::Access { path, cause })
    }
}
