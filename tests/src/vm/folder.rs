//! Where a machine's files are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::scratch::Scratch;

/// The files of one machine.
pub(super) enum Folder {
    /// All in a folder that is gone with the machine.
    Temporary(Scratch),
    /// Logs and disks in somebody else's folder, sockets and the TPM in a short one in /tmp.
    Given(PathBuf, TempDir),
}

impl Folder {
    pub(super) fn temporary() -> Result<Self> {
        Ok(Self::Temporary(Scratch::new()?))
    }

    /// A socket's path has at most 107 bytes, which that of a checkout may use up; and where AppArmor confines swtpm
    /// (Ubuntu), it may write only in /tmp and in the user's home.
    pub(super) fn given(path: &Path) -> Result<Self> {
        let sockets =
            tempfile::Builder::new().prefix("stele-vm-").tempdir_in("/tmp").context("making a folder in /tmp")?;
        Ok(Self::Given(path.to_path_buf(), sockets))
    }

    /// Logs and disks.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Given(path, _) => path,
        }
    }

    /// Sockets and the TPM.
    pub(super) fn sockets(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Given(_, sockets) => sockets.path(),
        }
    }

    /// Nothing is removed with this value: the machine runs on.
    pub(super) fn leave(&mut self) {
        if let Self::Given(_, sockets) = self {
            sockets.disable_cleanup(true);
        }
    }
}
