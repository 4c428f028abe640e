//! The identity on STATE: key and chain in one PEM file, which only root reads. Blocking.
//!
//! Invariant: the file is whole or the one before it (written beside, synced, renamed, folder synced). A few KiB; STATE keeps
//! room for it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use api::pki::{Certificate, Key};
use zeroize::Zeroizing;

use super::{Error, Held};

/// Larger is no identity of ours.
const MOST: u64 = 256 << 10;

/// Where it lies on a STATE.
pub(super) fn path(root: &Path) -> PathBuf {
    root.join("identity/node.pem")
}

/// What is kept; `None` when nothing is.
pub(super) fn load(path: &Path) -> Result<Option<Held>, Error> {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::State { path: path.into(), source }),
    };
    let damaged = |why: String| Error::Damaged { path: path.into(), why };
    let chain = Certificate::chain(&text).map_err(|error| damaged(error.to_string()))?;
    let key = Key::from_pem(&text).map_err(|error| damaged(error.to_string()))?;
    match chain.first() {
        Some(own) if own.is_of(&key) => Ok(Some(Held { chain, key })),
        _ => Err(damaged("key and certificate do not belong together".into())),
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    if fs::metadata(path)?.len() > MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read_to_string(path).map(Zeroizing::new)
}

/// Keeps it in place of what was; durable when it returns.
pub(super) fn save(path: &Path, held: &Held) -> Result<(), Error> {
    let mut text = Zeroizing::new(String::with_capacity(8 << 10));
    text.push_str(&held.key.pem());
    held.chain.iter().for_each(|certificate| text.push_str(&certificate.pem()));
    if read(path).is_ok_and(|kept| *kept == *text) {
        return Ok(());
    }
    write(path, text.as_bytes()).map_err(|source| Error::State { path: path.into(), source })
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = path.with_extension("new");
    // One that a power cut left.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()?;
    folder.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
}
