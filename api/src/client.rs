//! The certificate by which a client shows who it is.
//!
//! Invariant: the key is never shown: not by Debug, not in an error.

use std::{fmt, sync::Arc};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::facts::Facts;

/// A certificate with its issuers and its key. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    facts: Facts,
}

/// Why something is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No certificate in it.
    #[error("holds no certificate; it must be PEM: -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// A certificate that is none.
    #[error("the certificate cannot be read")]
    Certificate,
    /// No key in it.
    #[error("holds no private key; it must be PEM: -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The key is another certificate's, or of a kind that TLS cannot use.
    #[error("certificate and key do not belong together")]
    Apart,
}

impl Identity {
    /// From PEM: own certificate first, then its issuers.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|_| Error::Certificate)?;
        let first = chain.first().ok_or(Error::NoCertificate)?;
        let facts = Facts::of(first).ok_or(Error::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| Error::NoKey)?;
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|_| Error::NoKey)?;
        rustls::sign::CertifiedKey::new(chain.clone(), signing).keys_match().map_err(|_| Error::Apart)?;
        Ok(Self(Arc::new(Inner { chain, key, facts })))
    }

    /// From DER, as keys in memory are; own certificate first.
    pub fn from_der(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, Error> {
        let first = chain.first().ok_or(Error::NoCertificate)?;
        let facts = Facts::of(first).ok_or(Error::Certificate)?;
        Ok(Self(Arc::new(Inner { chain, key, facts })))
    }

    /// What the certificate says.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// The own certificate, DER.
    pub fn der(&self) -> &[u8] {
        self.0.chain.first().map_or(&[], |certificate| certificate)
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.chain.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.0.key.clone_key()
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.0.chain == other.0.chain
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.0.facts.subject).finish()
    }
}
