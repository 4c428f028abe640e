//! The root filesystem's image, made by Debian 13's own `mkfs.erofs` under Debian 13's own dynamic loader, out of the pinned
//! packages: so every build machine writes the same bytes, whatever it runs itself.

use std::path::{Path, PathBuf};

use crate::lock::{Lock, Use};
use crate::tools::{self, Tools};
use crate::tree::Tree;
use crate::{cache, host};

/// zstd level 12: 19 takes five times as long for 0.3 % less; lz4hc for [`HINTS`]. 64 KiB clusters: a page fault
/// decompresses at most that much.
/// No fragments: with a tar archive as input mkfs.erofs 1.8.6 writes wrong bytes with them.
const OPTIONS: [&str; 4] = ["-zzstd,level=12:lz4hc,level=12", "-C65536", "-Eztailpacking", "-x-1"];

/// What every boot waits for is unpacked by the second algorithm, four times as fast: cluster size, algorithm, pattern.
const HINTS: &str = "65536 1 usr/bin/machined$\n65536 1 usr/bin/gateway$\n";

/// The image cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tools.
    #[error(transparent)]
    Tools(#[from] tools::Error),
    /// mkfs.erofs.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// It reads back differently.
    #[error("mkfs.erofs wrote an image in which {path} is not what it was given")]
    Different {
        /// Path in the image.
        path: String,
    },
    /// Files.
    #[error("cannot write under {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// Makes the image. Kept in the cache by its input, which is everything it depends on.
///
/// # Errors
/// See [`Error`].
pub fn build(tree: &Tree, lock: &Lock, time: u64) -> Result<Vec<u8>, Error> {
    let at = |path: &std::path::Path| {
        let path = path.to_owned();
        move |cause| Error::Io { path, cause }
    };
    let mut tar = Vec::new();
    tree.write_tar(&mut tar, time).map_err(at("a tar archive".as_ref()))?;
    let tools = Tools::unpack(lock, Use::Tool)?;
    let key = cache::key(&[&tar, tools.key().as_bytes(), OPTIONS.concat().as_bytes(), HINTS.as_bytes()]);
    let kept = cache::dir().join("erofs").join(&key);
    if let Some(bytes) = cache::load_checked(&kept) {
        return Ok(bytes);
    }
    let work = tempfile::tempdir().map_err(at(&std::env::temp_dir()))?;
    let (input, output) = (work.path().join("root.tar"), work.path().join("root.erofs"));
    let hints = work.path().join("hints");
    std::fs::write(&input, &tar).map_err(at(&input))?;
    std::fs::write(&hints, HINTS).map_err(at(&hints))?;
    tools
        .program("mkfs.erofs")
        .args(OPTIONS)
        .args([format!("--compress-hints={}", hints.display())])
        .args(["--quiet", "--all-root", "--tar=f", &format!("-T{time}"), &format!("-U{}", uuid(&key))])
        .args([&output, &input])
        .run()?;
    let bytes = std::fs::read(&output).map_err(at(&output))?;
    verify(tree, &bytes, lock)?;
    cache::save_checked(&kept, &bytes).map_err(at(&kept))?;
    Ok(bytes)
}

/// Reads the image back with `fsck.erofs` and compares every file: a wrong byte in it would only show on a node.
fn verify(tree: &Tree, image: &[u8], lock: &Lock) -> Result<(), Error> {
    let work = tempfile::tempdir().map_err(|cause| Error::Io { path: std::env::temp_dir(), cause })?;
    let root = work.path().join("root");
    extract(image, &root, lock)?;
    for (path, bytes, ..) in tree.files() {
        let read = std::fs::read(root.join(path.trim_start_matches('/')));
        if read.ok().as_deref() != Some(bytes) {
            return Err(Error::Different { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Unpacks an image into a new folder, with the permissions it has but the ownership of who runs this.
///
/// # Errors
/// When the image is damaged or the folder cannot be written.
pub fn extract(image: &[u8], to: &Path, lock: &Lock) -> Result<(), Error> {
    let file = tempfile::NamedTempFile::new().map_err(|cause| Error::Io { path: std::env::temp_dir(), cause })?;
    std::fs::write(file.path(), image).map_err(|cause| Error::Io { path: file.path().to_owned(), cause })?;
    Tools::unpack(lock, Use::Tool)?
        .program("fsck.erofs")
        .args(["--no-preserve-owner", "--preserve-perms", &format!("--extract={}", to.display())])
        .args([file.path()])
        .run()?;
    Ok(())
}

/// A UUID out of a content key.
fn uuid(key: &str) -> String {
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(key.get(2 * at..2 * at + 2).unwrap_or_default(), 16).unwrap_or_default();
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
