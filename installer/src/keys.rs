//! The development keys: one that signs for Secure Boot, one that signs installer images. Made on first use, outside the
//! checkout, readable by their owner alone.
//!
//! Release keys are named by options; they are read where they are, and no private one is ever copied.

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

/// The development key for Secure Boot of this user, made when there is none yet.
///
/// # Errors
/// When it cannot be made or written.
pub fn development() -> Result<Key, Error> {
    let found = names(&folder(), "dev-secureboot");
    once(&[&found.key, &found.cert], |folder| make(folder, "dev-secureboot").map(|made| made.key))?;
    Ok(found)
}

/// The development key for installer images of this user, made when there is none yet.
///
/// # Errors
/// When it cannot be made or written.
pub fn image_development() -> Result<ImageKey, Error> {
    let found = image_names(&folder(), "dev-image");
    once(&[&found.key, &found.public], |folder| make_image(folder, "dev-image").map(|made| made.key))?;
    Ok(found)
}

fn folder() -> PathBuf {
    cache::config_dir().join("keys")
}

/// Makes what is not there, once even when two builds start together: the second one waits and takes what the first one made.
fn once(files: &[&Path], make: impl FnOnce(&Path) -> Result<PathBuf, Error>) -> Result<(), Error> {
    let there = || files.iter().all(|file| file.exists());
    if there() {
        return Ok(());
    }
    let folder = folder();
    let failed = |cause| Error::Write { path: folder.clone(), cause };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).map_err(failed)?;
    let folder_lock = std::fs::File::open(&folder).map_err(failed)?;
    folder_lock.lock().map_err(failed)?;
    if there() {
        return Ok(());
    }
    eprintln!("made a development key: {}", make(&folder)?.display());
    Ok(())
}

/// A key that signs installer images, both PEM files.
#[derive(Clone, Debug)]
pub struct ImageKey {
    /// Private key (PKCS #8).
    pub key: PathBuf,
    /// Public key.
    pub public: PathBuf,
}

fn image_names(folder: &Path, name: &str) -> ImageKey {
    ImageKey { key: folder.join(format!("{name}.key")), public: folder.join(format!("{name}.pub")) }
}

/// Makes a key for installer images. ECDSA P-256: what cosign makes and checks by default.
///
/// # Errors
/// When it cannot be made or written.
pub fn make_image(folder: &Path, name: &str) -> Result<ImageKey, Error> {
    let key = image_names(folder, name);
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    write_private(&key.key, &key.public, &pair)?;
    let public = crate::oci::public_pem(pair.public_key_raw());
    cache::save(&key.public, public.as_bytes()).map_err(|cause| Error::Write { path: key.public.clone(), cause })?;
    Ok(key)
}

/// Writes a private key; first removes what belonged to another one, so that it never stays beside this one when that is
/// interrupted.
fn write_private(path: &Path, other: &Path, pair: &rcgen::KeyPair) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    if other.exists() {
        std::fs::remove_file(other).map_err(|cause| Error::Write { path: other.to_owned(), cause })?;
    }
    cache::replace(path, 0o600, failed, |file, _| file.write_all(pair.serialize_pem().as_bytes()).map_err(failed))
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
    write_private(&key.key, &key.cert, &pair)?;
    cache::save(&key.cert, cert.pem().as_bytes()).map_err(|cause| Error::Write { path: key.cert.clone(), cause })?;
    Ok(key)
}
