//! What may be kept between builds, outside the checkout: `$XDG_CACHE_HOME/stele`.
//!
//! Invariant: a file appears under its final name only when it is complete.

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
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
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
