//! Text that is never shown: keys.
//!
//! Invariant: Debug says nothing of it, and its memory is wiped when it goes.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::exit::{Code, Failure, Result};

/// A key in PEM, say.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// The text; for whom it is meant.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Reads a file that others must not be able to read.
pub(crate) fn read(path: &Path) -> Result<Secret> {
    let failed = |error: io::Error| Failure::new(Code::Usage, format!("reading {}: {error}", path.display()), "");
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    // A pipe (<(decrypt ...)) is not a file that lies about.
    if fs::metadata(path).map_err(failed)?.is_file() && mode & 0o077 != 0 {
        let message = format!("{}: others can read it (mode {:03o}), and it holds a key", path.display(), mode & 0o777);
        return Err(Failure::usage(message, format!("chmod 600 {}", path.display())));
    }
    fs::read_to_string(path).map(Secret::from).map_err(failed)
}

/// Writes a new file that only its owner can read, durable when it returns; an existing one is left as it is.
pub(crate) fn create(path: &Path, text: &str) -> Result {
    let mut open = fs::OpenOptions::new();
    let written = open.write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            Code::Failed,
            format!("{} is there already, and may hold keys that are in use", path.display()),
            "give another file, or move this one away",
        ),
        _ => Failure::new(Code::Failed, format!("writing {}: {error}", path.display()), ""),
    })
}

/// Replaces a file as a whole, so that a power cut leaves the old or the new one; only its owner can read it.
pub(crate) fn replace(path: &Path, text: &str) -> Result {
    let write = || {
        // A file that is a link stays one.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // tempfile makes it 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|error| Failure::new(Code::Failed, format!("writing {}: {error}", path.display()), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::from("hunter2".to_owned())), "Secret");
    }

    #[test]
    fn a_file_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.yaml");
        create(&path, "a").unwrap();
        assert!(create(&path, "b").unwrap_err().message.contains("already"));
        assert_eq!(read(&path).unwrap().reveal(), "a");
        replace(&path, "c").unwrap();
        assert_eq!(read(&path).unwrap().reveal(), "c");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap_err().remedy.contains("chmod 600"));
    }
}
