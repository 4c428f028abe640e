//! `image.yaml`: what the image is made of. Read once at the start of every command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Which of Debian's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// Small, for virtual machines.
    Cloud,
    /// For any hardware.
    Generic,
}

impl Kernel {
    /// As it is written in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Generic => "generic",
        }
    }

    /// The first part of the names of what is built with it.
    #[must_use]
    pub const fn product(self) -> &'static str {
        match self {
            Self::Cloud => "stele-amd64",
            Self::Generic => "stele-metal-amd64",
        }
    }
}

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Packages that programs are taken from.
    pub packages: Vec<String>,
    /// Packages that are run at build time.
    pub tools: Vec<String>,
    /// Packages that are run in tests.
    pub tests: Vec<String>,
    /// The package with the EFI stub.
    pub stub: String,
    /// The package of each kernel.
    pub kernels: BTreeMap<Kernel, String>,
    /// Programs by absolute path.
    pub programs: Vec<String>,
    /// What machines can be upgraded, and back.
    pub upgrades: Upgrades,
    /// Those of them that the recovery system has, too.
    pub recovery: Vec<String>,
    /// SPDX licence expression of each source package that has a file in the image.
    pub licences: BTreeMap<String, String>,
    /// Kernel modules by name.
    pub modules: Modules,
}

/// What an installer image says about upgrades (see `config::image::Manifest`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrades {
    /// A machine that blessed this version takes none below.
    pub floor: semver::Version,
    /// A machine below cannot take this version.
    pub minimum: semver::Version,
}

/// Kernel modules by name; lists of lists only to keep the file's lines short.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    /// What init loads to mount the root.
    pub root: Vec<String>,
    /// Wanted with both kernels.
    pub needed: Vec<Vec<String>>,
    /// Besides, in all but the recovery system.
    pub system: Vec<Vec<String>>,
    /// Besides, with the cloud kernel.
    pub cloud: Vec<Vec<String>>,
    /// Besides, with the generic kernel.
    pub generic: Vec<Vec<String>>,
}

impl Image {
    /// What the recovery system is made of.
    #[must_use]
    pub fn recovery(&self) -> Self {
        let modules = Modules { system: Vec::new(), ..self.modules.clone() };
        Self { programs: self.recovery.clone(), modules, ..self.clone() }
    }
}

impl Modules {
    /// All names for one kernel.
    pub fn all(&self, kernel: Kernel) -> impl Iterator<Item = &str> {
        let besides = match kernel {
            Kernel::Cloud => &self.cloud,
            Kernel::Generic => &self.generic,
        };
        let lists = self.needed.iter().chain(&self.system).chain(besides).flatten();
        self.root.iter().chain(lists).map(String::as_str)
    }
}

/// `image.yaml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No checkout.
    #[error(
        "there is no installer/image.yaml here or above: run imager inside the checkout, or name its installer folder with --source"
    )]
    Outside,
    /// Not there.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Wrong.
    #[error("{path}: {cause}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The installer folder: the given one, else that of the checkout around the current folder.
///
/// # Errors
/// When none is given and there is no checkout.
pub fn folder(given: Option<&Path>) -> Result<PathBuf, Error> {
    let is_it = |folder: &PathBuf| folder.join("image.yaml").is_file();
    let around = || {
        let here = std::env::current_dir().ok()?;
        here.ancestors().map(|above| above.join("installer")).find(is_it)
    };
    given.map(Path::to_owned).or_else(around).ok_or(Error::Outside)
}

/// Reads `image.yaml` in the installer folder.
///
/// # Errors
/// When it is missing or wrong.
pub fn load(source: &Path) -> Result<Image, Error> {
    let path = source.join("image.yaml");
    let text = std::fs::read_to_string(&path).map_err(|cause| Error::Read { path: path.clone(), cause })?;
    serde_saphyr::from_str(&text).map_err(|cause| Error::Parse { path, cause: cause.to_string().into() })
}
