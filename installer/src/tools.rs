//! Programs out of the pinned packages, run on the build machine under the dynamic loader and libraries they were built for:
//! so everybody has the same ones, whatever their machine runs itself. Tools make the image; tests have stock programs look at
//! it.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::lock::{Lock, Use};
use crate::tree::Node;
use crate::{cache, deb, host};

/// They cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A package.
    #[error(transparent)]
    Deb(#[from] deb::Error),
    /// The cache.
    #[error("cannot write under {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// A folder in the cache with the files of all packages of one use.
#[derive(Debug)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Unpacks them once.
    ///
    /// # Errors
    /// When a package is not there or the cache cannot be written.
    pub fn unpack(lock: &Lock, wanted: Use) -> Result<Self, Error> {
        let pins: String = lock.uses(wanted).map(|package| package.sha256.as_str()).collect();
        let parent = cache::dir().join("tools");
        let folder = parent.join(&cache::key(&[pins.as_bytes()])[..16]);
        if folder.exists() {
            return Ok(Self { folder });
        }
        let failed = |cause| Error::Io { path: folder.clone(), cause };
        std::fs::create_dir_all(&parent).map_err(failed)?;
        let part = tempfile::tempdir_in(&parent).map_err(failed)?;
        for package in lock.uses(wanted) {
            for (path, node) in deb::read(package, |path| path.starts_with("/usr/lib") || path.starts_with("/usr/bin"))?
            {
                let to = part.path().join(path.trim_start_matches('/'));
                put(&to, node).map_err(failed)?;
            }
        }
        match std::fs::rename(part.path(), &folder) {
            // another build was faster: what it unpacked is the same
            Err(_) if folder.is_dir() => {}
            renamed => renamed.map_err(failed)?,
        }
        Ok(Self { folder })
    }

    /// Tells one set of packages from another.
    #[must_use]
    pub fn key(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// One of the programs.
    #[must_use]
    pub fn program(&self, name: &str) -> host::Program {
        let libraries = self.folder.join("usr/lib/x86_64-linux-gnu");
        host::program(self.folder.join("usr/lib64/ld-linux-x86-64.so.2"), "libc6").args([
            "--library-path".as_ref(),
            libraries.as_os_str(),
            self.folder.join("usr/bin").join(name).as_os_str(),
        ])
    }
}

fn put(to: &Path, node: Node) -> std::io::Result<()> {
    match node {
        Node::Dir => std::fs::create_dir_all(to),
        Node::Link(target) => std::os::unix::fs::symlink(target, to),
        Node::File { bytes, executable } => {
            let mode = if executable { 0o755 } else { 0o644 };
            cache::replace(to, mode, |error| error, |file, _| file.write_all(&bytes))
        }
    }
}
