//! Pinned packages in the cache: downloaded by apt's own client, checked against the lock file.
//!
//! Invariant: a file returned here has the pinned size and SHA-256.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::lock::Package;
use crate::progress::size;
use crate::{cache, host, mirror};

/// Packages could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No mirror.
    #[error(transparent)]
    Mirror(#[from] mirror::Unknown),
    /// The cache cannot be written.
    #[error("cannot write the cache {path}")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The mirror does not give it.
    #[error(
        "{name} {version} cannot be fetched from {mirror}.\n\
         If the mirror no longer has this version: pin the current ones with `imager lock` (and commit packages.lock), or set \
         {variable} to a mirror that keeps old versions.\n{cause}",
        variable = mirror::VARIABLE
    )]
    Gone {
        /// Package.
        name: String,
        /// Pinned version.
        version: String,
        /// Mirror asked.
        mirror: String,
        /// What the client said.
        cause: Box<host::Error>,
    },
    /// It came with other bytes.
    #[error("{path} does not have the SHA-256 that packages.lock says; delete it and try again, or try another mirror")]
    Different {
        /// The file.
        path: PathBuf,
    },
}

/// Where a package lies in the cache.
#[must_use]
pub fn path(package: &Package) -> PathBuf {
    cache::dir().join("debs").join(package.file_name())
}

/// Makes sure that all are in the cache; says on standard error what is downloaded. Costs nothing when they are there: a
/// file is checked once, then by its size, and again when it is read ([`crate::deb`]).
///
/// # Errors
/// The first package that cannot be had.
pub fn ensure<'a>(packages: impl IntoIterator<Item = &'a Package>) -> Result<usize, Error> {
    let missing: Vec<&Package> = packages.into_iter().filter(|package| !is_there(package)).collect();
    if missing.is_empty() {
        return Ok(0);
    }
    let folder = cache::dir().join("debs");
    std::fs::create_dir_all(&folder).map_err(|cause| Error::Cache { path: folder.clone(), cause })?;
    let mirror = mirror::find()?;
    let bytes: u64 = missing.iter().map(|package| package.size).sum();
    eprintln!("fetching {} packages, {}", missing.len(), size(usize::try_from(bytes).unwrap_or(usize::MAX)));

    // Four at a time: enough to hide the latency of small packages, polite to the mirror.
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..missing.len().min(4) {
            scope.spawn(|| {
                while let Some(package) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = fetch(&mirror, package, &folder) {
                        next.store(missing.len(), Ordering::Relaxed);
                        if let Ok(mut failed) = failed.lock() {
                            failed.get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().ok().flatten().map_or(Ok(missing.len()), Err)
}

fn is_there(package: &Package) -> bool {
    std::fs::metadata(path(package)).is_ok_and(|found| found.len() == package.size)
}

fn fetch(mirror: &str, package: &Package, folder: &Path) -> Result<(), Error> {
    let cache_error = |cause| Error::Cache { path: folder.to_owned(), cause };
    // a folder of its own: the client leaves partial files beside its target
    let part = tempfile::tempdir_in(folder).map_err(cache_error)?;
    let target = part.path().join("deb");
    let uri = format!("{mirror}/{}", package.path);
    host::program("/usr/lib/apt/apt-helper", "apt")
        // run by root it would drop to a user who cannot write here
        .args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download-file", &uri])
        .args([target.as_os_str()])
        .args([format!("SHA256:{}", package.sha256)])
        .run()
        .map_err(|cause| Error::Gone {
            name: package.name.clone(),
            version: package.version.clone(),
            mirror: mirror.to_owned(),
            cause: Box::new(cause),
        })?;
    check(package, &target)?;
    std::fs::rename(&target, path(package)).map_err(cache_error)?;
    eprintln!("  {} {}", package.name, package.version);
    Ok(())
}

/// Compares a file with the lock file.
///
/// # Errors
/// When it is not what was pinned.
pub fn check(package: &Package, path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(|cause| Error::Cache { path: path.to_owned(), cause })?;
    if cache::sha256(&bytes) == package.sha256 { Ok(()) } else { Err(Error::Different { path: path.to_owned() }) }
}
