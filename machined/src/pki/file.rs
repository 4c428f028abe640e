//! An identity in a file of mode 0600: certificate and key, each after its length.
//!
//! Invariant: the file is whole or absent (written beside, then renamed). In /run, which is memory: gone with the boot.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use zeroize::Zeroizing;

use super::{Error, Identity, Keep};
use crate::gateway::wire::Decoder;

/// Keeps an identity in one file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
}

impl File {
    /// The file need not exist; its directory must.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error + '_ {
        |source| Error::Place { place: self.place(), source }
    }
}

impl Keep for File {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn load(&self) -> Result<Option<Identity>, Error> {
        match fs::read(&self.path) {
            Ok(bytes) => parse(&Zeroizing::new(bytes))
                .map(Some)
                .ok_or_else(|| Error::Damaged { place: self.place(), why: "it does not parse" }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed()(error)),
        }
    }

    fn save(&mut self, identity: &Identity) -> Result<(), Error> {
        let beside = self.path.with_extension("new");
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&format(identity))?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        };
        write().map_err(self.failed())
    }
}

/// The bytes of an identity: what META's record holds, too.
pub fn format(identity: &Identity) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
    for field in [identity.certificate.as_slice(), &identity.key] {
        // Two fields of some hundred bytes each.
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

/// Reads them back.
pub fn parse(bytes: &[u8]) -> Option<Identity> {
    let mut fields = Decoder::new(bytes);
    let certificate = fields.field("certificate").ok()?.to_vec();
    let key = Zeroizing::new(fields.field("key").ok()?.to_vec());
    fields.finish().ok()?;
    Some(Identity { certificate, key })
}
