//! Signing the UKI for Secure Boot with `sbsign`, and the development key for it.
//!
//! The development key is made on first use, outside the checkout, readable by its owner alone. Release keys are named with
//! `--key` and `--cert` and are never copied.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{cache, host};

/// A key with its certificate, both PEM files.
#[derive(Clone, Debug)]
pub struct Key {
    /// Private key.
    pub key: PathBuf,
    /// Certificate.
    pub cert: PathBuf,
}

/// Signing failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Key generation.
    #[error("cannot make a development key")]
    Generate(#[from] rcgen::Error),
    /// sbsign.
    #[error(transparent)]
    Host(#[from] host::Error),
}

/// The development key, made when there is none yet.
///
/// # Errors
/// When it cannot be made or written.
pub fn development() -> Result<Key, Error> {
    let folder = cache::config_dir().join("keys");
    let found = Key { key: folder.join("dev-secureboot.key"), cert: folder.join("dev-secureboot.crt") };
    if found.key.exists() && found.cert.exists() {
        return Ok(found);
    }
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| Error::Write { path, cause }
    };
    std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).map_err(at(&folder))?;
    // RSA 2048: the one algorithm that every firmware's Secure Boot takes
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Stele development key (not for release)");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    let cert = params.self_signed(&pair)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&found.key)
        .map_err(at(&found.key))?;
    file.write_all(pair.serialize_pem().as_bytes()).map_err(at(&found.key))?;
    cache::save(&found.cert, cert.pem().as_bytes()).map_err(at(&found.cert))?;
    eprintln!("made a development signing key: {}", found.key.display());
    Ok(found)
}

/// The signed program.
///
/// # Errors
/// When `sbsign` is missing or refuses.
pub fn sign(pe: &[u8], key: &Key) -> Result<Vec<u8>, Error> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| Error::Write { path, cause }
    };
    let work = tempfile::tempdir().map_err(at(&std::env::temp_dir()))?;
    let (input, output) = (work.path().join("unsigned.efi"), work.path().join("signed.efi"));
    std::fs::write(&input, pe).map_err(at(&input))?;
    host::program("sbsign", "sbsigntool")
        .args(["--key".as_ref(), key.key.as_os_str(), "--cert".as_ref(), key.cert.as_os_str()])
        .args(["--output".as_ref(), output.as_os_str(), input.as_os_str()])
        .run()?;
    std::fs::read(&output).map_err(at(&output))
}
