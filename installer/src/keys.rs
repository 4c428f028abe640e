//! The development signing key: made on first use, outside the checkout, readable by its owner alone.
//!
//! Release keys are named with `--key` and `--cert`; they are read where they are and never copied.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::sign::Key;

/// A key cannot be made.
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
    #[error("cannot make a signing key")]
    Generate(#[from] rcgen::Error),
}

/// The development key of this user, made when there is none yet.
///
/// # Errors
/// When it cannot be made or written.
pub fn development() -> Result<Key, Error> {
    let folder = cache::config_dir().join("keys");
    let found = names(&folder, "dev-secureboot");
    if found.key.exists() && found.cert.exists() {
        return Ok(found);
    }
    let failed = |cause| Error::Write { path: folder.clone(), cause };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).map_err(failed)?;
    // two first builds at once: the second one waits and takes what the first one made
    let folder_lock = std::fs::File::open(&folder).map_err(failed)?;
    folder_lock.lock().map_err(failed)?;
    if found.key.exists() && found.cert.exists() {
        return Ok(found);
    }
    let made = make(&folder, "dev-secureboot")?;
    eprintln!("made a development signing key: {}", made.key.display());
    Ok(made)
}

fn names(folder: &Path, name: &str) -> Key {
    Key { key: folder.join(format!("{name}.key")), cert: folder.join(format!("{name}.crt")) }
}

/// Makes a key with a certificate of its own. RSA 2048: what every firmware's Secure Boot takes.
///
/// # Errors
/// When it cannot be made or written.
pub fn make(folder: &Path, name: &str) -> Result<Key, Error> {
    let key = names(folder, name);
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Stele development key (not for release)");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    let cert = params.self_signed(&pair)?;
    let failed = |cause| Error::Write { path: key.key.clone(), cause };
    // first, so that a certificate never stays beside another key when this is interrupted
    if key.cert.exists() {
        std::fs::remove_file(&key.cert).map_err(|cause| Error::Write { path: key.cert.clone(), cause })?;
    }
    cache::replace(&key.key, 0o600, failed, |file, _| file.write_all(pair.serialize_pem().as_bytes()).map_err(failed))?;
    cache::save(&key.cert, cert.pem().as_bytes()).map_err(|cause| Error::Write { path: key.cert.clone(), cause })?;
    Ok(key)
}
