//! Signing the UKI for Secure Boot (Microsoft's Authenticode, as firmware checks it; UEFI 2.10, section 32.2).
//!
//! RSA with PKCS #1 padding and no signing time: the same program and key always give the same bytes, which the usual tools
//! do not. What is signed is checked with `sbverify` in the tests.

mod pkcs7;

use std::path::PathBuf;

use aws_lc_rs::signature::RsaKeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use crate::pe;

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
    /// A key or certificate file.
    #[error("{path} is not a PEM file with {what}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// Not RSA.
    #[error("{path} is not an RSA key of 2048 bits or more, the one kind that every firmware's Secure Boot takes")]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// Not a certificate, or of another key.
    #[error("{path} is not the certificate of that key")]
    Cert {
        /// The file.
        path: PathBuf,
    },
    /// Not an EFI program.
    #[error(transparent)]
    Program(#[from] pe::Error),
}

/// The signed program.
///
/// # Errors
/// When the key or certificate cannot be used or the program is not one.
pub fn sign(pe: &[u8], key: &Key) -> Result<Vec<u8>, Error> {
    let pair = load_key(key)?;
    let pem = |cause| Error::Pem { path: key.cert.clone(), what: "a certificate", cause };
    let cert = CertificateDer::from_pem_file(&key.cert).map_err(pem)?;
    let wrong = || Error::Cert { path: key.cert.clone() };
    let (_, parsed) = x509_parser::parse_x509_certificate(&cert).map_err(|_| wrong())?;
    if parsed.public_key().subject_public_key.data.as_ref() != aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref()
    {
        return Err(wrong());
    }
    let signer =
        pkcs7::Signer { cert: &cert, issuer: parsed.issuer().as_raw(), serial: parsed.raw_serial(), pair: &pair };
    let digest = Sha256::digest(pe::signed_part(pe)?.concat());
    let signature = signer.signed_data(&digest).ok_or(Error::Key { path: key.key.clone() })?;
    Ok(pe::attach(pe, &signature)?)
}

fn load_key(key: &Key) -> Result<RsaKeyPair, Error> {
    let pem = |cause| Error::Pem { path: key.key.clone(), what: "a private key", cause };
    let found = match PrivateKeyDer::from_pem_file(&key.key).map_err(pem)? {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
        _ => None,
    };
    found.ok_or_else(|| Error::Key { path: key.key.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host, keys, uki};

    #[test]
    fn a_stock_tool_accepts_the_signature() {
        let work = tempfile::tempdir().unwrap();
        let key = keys::make(work.path(), "test").unwrap();
        let pe = uki::assemble(&uki::tests::stub(), &[(uki::OSREL, b"ID=stele\n")]).unwrap();
        let signed = sign(&pe, &key).unwrap();
        assert!(signed == sign(&pe, &key).unwrap());
        let file = work.path().join("signed.efi");
        std::fs::write(&file, &signed).unwrap();
        let verify = |file: &std::path::Path| {
            host::program("sbverify", "sbsigntool")
                .args(["--cert".as_ref(), key.cert.as_os_str(), file.as_os_str()])
                .run()
        };
        verify(&file).unwrap();
        let mut broken = signed;
        broken[1300] ^= 1;
        std::fs::write(&file, &broken).unwrap();
        assert!(verify(&file).is_err());
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let work = tempfile::tempdir().unwrap();
        let (one, other) = (keys::make(work.path(), "one").unwrap(), keys::make(work.path(), "other").unwrap());
        let mixed = Key { key: one.key, cert: other.cert };
        assert!(matches!(sign(&uki::tests::stub(), &mixed), Err(Error::Cert { .. })));
    }
}
