//! The identity the API shows in maintenance: a key, a self-signed certificate, its fingerprint.
//!
//! Invariant: made once, then the same for as long as `keep` finds it again; people compare the fingerprint with the
//! console. Used by `server` and the console page.

use std::fmt;

use api::fingerprint::Fingerprint;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SerialNumber};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

pub mod file;
pub mod keep;
pub mod node;
pub mod own;
pub mod rescue;

/// The subject's common name.
pub const COMMON_NAME: &str = "stele-maintenance";

/// Names in the certificate for clients that insist on one; ours pin the fingerprint.
const NAMES: [&str; 2] = ["stele.invalid", "localhost"];

/// Digest of a certificate's DER, as `openssl x509 -fingerprint -sha256` prints it.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// A key and its self-signed certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate; DER.
    pub certificate: Vec<u8>,
    /// Its ECDSA P-256 key; PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS library failed to make one.
    #[error("cannot make a key and certificate")]
    Make(#[source] rcgen::Error),
    /// What a place kept is not an identity.
    #[error("what {place} keeps is not an identity: {why}")]
    Damaged {
        /// Where it was kept.
        place: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A place failed.
    #[error("{place} cannot keep the identity")]
    Place {
        /// Where.
        place: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Identity {
    /// Makes a new one.
    pub fn make() -> Result<Self, Error> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(Error::Make)?;
        let mut params = CertificateParams::new(NAMES.map(str::to_owned)).map_err(Error::Make)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
        // It is pinned, so time tells nothing; a machine's clock may stand in 1970. The end is RFC 5280's "no date".
        params.not_before = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        params.serial_number = Some(SerialNumber::from(uuid::Uuid::new_v4().as_bytes().to_vec()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key).map_err(Error::Make)?.der().to_vec();
        Ok(Self { certificate, key: Zeroizing::new(key.serialize_der()) })
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }

    /// The fingerprint as 64 lower-case hexadecimal digits.
    pub fn fingerprint_hex(&self) -> String {
        Fingerprint::of_der(&self.certificate).to_string()
    }

    /// Refuses what a torn write or another program left.
    pub fn check(self, place: &str) -> Result<Self, Error> {
        let damaged = |why| Error::Damaged { place: place.to_owned(), why };
        let (rest, certificate) =
            X509Certificate::from_der(&self.certificate).map_err(|_| damaged("the certificate does not parse"))?;
        if !rest.is_empty() {
            return Err(damaged("there are bytes after the certificate"));
        }
        let key = KeyPair::try_from(self.key.as_slice()).map_err(|_| damaged("the key does not parse"))?;
        if certificate.public_key().subject_public_key.data != rcgen::PublicKeyData::der_bytes(&key) {
            return Err(damaged("key and certificate do not belong together"));
        }
        Ok(self)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint_hex())
    }
}

#[cfg(test)]
#[path = "pki/tests.rs"]
mod tests;
