//! What may be kept between builds, outside the checkout: `$XDG_CACHE_HOME/stele`.
//!
//! Invariant: a file appears under its final name only when it is complete, also after a power cut. Results are written by
//! the same rule: what is replaced may be in use.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The cache's folder, from `$XDG_CACHE_HOME` or `$HOME/.cache`.
#[must_use]
pub fn dir() -> PathBuf {
    xdg("XDG_CACHE_HOME", ".cache")
}

/// The folder for keys, from `$XDG_CONFIG_HOME` or `$HOME/.config`.
#[must_use]
pub fn config_dir() -> PathBuf {
    xdg("XDG_CONFIG_HOME", ".config")
}

fn xdg(variable: &str, fallback: &str) -> PathBuf {
    let base = std::env::var_os(variable).filter(|value| !value.is_empty()).map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(fallback),
        PathBuf::from,
    );
    base.join("stele")
}

/// Writes a file so that it is there completely or not at all; makes the folders above it.
///
/// # Errors
/// When the folder or file cannot be written.
pub fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(parent(path))?;
    replace(path, 0o644, |error| error, |file, _| file.write_all(bytes))
}

/// Writes a file beside `path` and renames it to that when it is complete: who has the old one open keeps it as it was.
/// `write` gets the new file and its name until then.
///
/// # Errors
/// What `write` says, and what `failed` makes of the rest.
pub fn replace<E>(
    path: &Path,
    mode: u32,
    failed: impl Fn(io::Error) -> E,
    write: impl FnOnce(&mut File, &Path) -> Result<(), E>,
) -> Result<(), E> {
    // a rename would put a file in the place of a device
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(failed(io::Error::other("there is something that is not a file")));
    }
    let parent = parent(path);
    let mut new = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
        .tempfile_in(parent)
        .map_err(&failed)?;
    let name = new.path().to_owned();
    write(new.as_file_mut(), &name)?;
    new.as_file().sync_all().map_err(&failed)?;
    new.persist(path).map_err(|error| failed(error.error))?;
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a file that [`save_checked`] wrote; None when it is not there, or not what was written.
#[must_use]
pub fn load_checked(path: &Path) -> Option<Vec<u8>> {
    let says = std::fs::read_to_string(beside(path)).ok()?;
    let bytes = std::fs::read(path).ok()?;
    (says.trim_end() == sha256(&bytes)).then_some(bytes)
}

/// Writes a file whose name does not tell its content, with its SHA-256 beside it.
///
/// # Errors
/// When one of them cannot be written.
pub fn save_checked(path: &Path, bytes: &[u8]) -> io::Result<()> {
    save(path, bytes)?;
    save(&beside(path), format!("{}\n", sha256(bytes)).as_bytes())
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

/// SHA-256 as 64 lower-case hex digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A key for a result: the hash of everything that goes into it. Each part is hashed with its length.
#[must_use]
pub fn key(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_old_file_open_keeps_it() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("disk.raw");
        save(&path, b"old").unwrap();
        let open = File::open(&path).unwrap();
        save(&path, b"newer").unwrap();
        assert_eq!(io::read_to_string(open).unwrap(), "old");
        let failed = replace(
            &path,
            0o644,
            |error| error,
            |file, _| {
                file.write_all(b"half")?;
                Err(io::Error::other("interrupted"))
            },
        );
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 1);
        assert!(save(Path::new("/dev/null"), b"").is_err());
    }

    #[test]
    fn a_kept_file_that_changed_is_not_believed() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("kept");
        save_checked(&path, b"good").unwrap();
        assert_eq!(load_checked(&path).unwrap(), b"good");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(load_checked(&path), None);
    }
}
