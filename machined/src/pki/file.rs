//! An identity in a file of mode 0600: certificate and key, each after its length.
//!
//! Invariant: the file is whole or absent (written beside, then renamed). In /run, which is memory: gone with the boot.

use std::{fs, io, path::PathBuf};

use zeroize::Zeroizing;

use super::{Error, Identity};
use crate::{file, gateway::wire::Decoder};

/// Keeps an identity in one file.
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
}

impl File {
    /// The file need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What is kept; `None` when nothing is.
    pub fn load(&self) -> Result<Option<Identity>, Error> {
        let damaged = || Error::Damaged { place: self.place(), why: "it does not parse" };
        match fs::read(&self.path) {
            Ok(bytes) => parse(&Zeroizing::new(bytes)).ok_or_else(damaged)?.check(&self.place()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Keeps it in place of what was.
    pub fn save(&self, identity: &Identity) -> Result<(), Error> {
        file::replace(&self.path, &format(identity), 0o600).map_err(|error| self.failed(error))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Place { place: self.place(), source }
    }
}

/// The bytes of an identity.
fn format(identity: &Identity) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
    for field in [identity.certificate.as_slice(), &identity.key] {
        // Two fields of some hundred bytes each.
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// Reads them back.
fn parse(bytes: &[u8]) -> Option<Identity> {
    let mut fields = Decoder::new(bytes);
    let certificate = fields.field("certificate").ok()?.to_vec();
    let key = Zeroizing::new(fields.field("key").ok()?.to_vec());
    fields.finish().ok()?;
    Some(Identity { certificate, key })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_is_found_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::new(folder.path().join("identity"));
        assert!(file.load().unwrap().is_none());
        let identity = Identity::make().unwrap();
        file.save(&identity).unwrap();
        assert_eq!(file.load().unwrap(), Some(identity));
        let mode = fs::metadata(folder.path().join("identity")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn damage_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let good = Identity::make().unwrap();
        let mixed = Identity { key: Identity::make().unwrap().key, ..good.clone() };
        let torn = format(&good)[..300].to_vec();
        for (name, bytes) in [("empty", vec![]), ("torn", torn), ("mixed", format(&mixed).to_vec())] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            let error = File::new(path).load().expect_err(name);
            assert!(matches!(error, Error::Damaged { .. }), "{name}: {error}");
        }
    }
}
