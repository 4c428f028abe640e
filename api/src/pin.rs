//! Trusting a node: by its certificate's fingerprint, or by who signed it.
//!
//! Invariant: the handshake's signature is always verified, so that a certificate that was only copied proves nothing.
//! Called by `connect`, once for each connection: nothing is resumed, so every connection is checked.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{facts::Facts, fingerprint::Fingerprint};

/// What makes a node the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Its certificate has one of these fingerprints.
    Exact(Vec<Fingerprint>),
    /// One of these signed its certificate, which is a server's, valid now, and for the name or address that was dialled.
    Authorities(Authorities),
    /// Either of both: a node that is about to be configured, or was without anybody seeing the answer.
    Either(Vec<Fingerprint>, Authorities),
    /// Whatever answers first is trusted; later connections of the same connector must show the same certificate.
    FirstUse,
}

/// Authorities that sign nodes' certificates; at least one.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// Why something is no set of authorities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// There is none.
    #[error("holds no certificate of an authority; it must be PEM: -----BEGIN CERTIFICATE-----")]
    None,
    /// One that cannot be read.
    #[error("certificate {0} in it is not one that can sign others")]
    Unusable(usize),
}

impl Authorities {
    /// From PEM; several one after the other.
    pub fn from_pem(pem: &str) -> Result<Self, AuthoritiesError> {
        let mut all = Vec::new();
        for (at, certificate) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
            let certificate = certificate.map_err(|_| AuthoritiesError::Unusable(at + 1))?;
            RootCertStore::empty().add(certificate.clone()).map_err(|_| AuthoritiesError::Unusable(at + 1))?;
            all.push(certificate);
        }
        if all.is_empty() { Err(AuthoritiesError::None) } else { Ok(Self(all)) }
    }

    /// Their fingerprints, in order.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.iter().map(|certificate| Fingerprint::of_der(certificate)).collect()
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.0 {
            roots.add(certificate.clone())?;
        }
        WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fingerprints()).finish()
    }
}

/// Checks the certificate and keeps what was seen.
#[derive(Debug)]
pub(crate) struct Verifier {
    pin: Pin,
    chains: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Seen>>,
}

/// The certificate that the peer showed.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) facts: Facts,
}

impl Verifier {
    pub(crate) fn new(pin: Pin, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let chains = match &pin {
            Pin::Authorities(authorities) | Pin::Either(_, authorities) => {
                Some(authorities.verifier(provider.clone())?)
            }
            Pin::Exact(_) | Pin::FirstUse => None,
        };
        Ok(Self { pin, chains, provider, seen: Mutex::new(None) })
    }

    /// What the peer showed, if it came to that.
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint = Fingerprint::of_der(certificate);
        let facts = Facts::of(certificate).unwrap_or_default();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { fingerprint, facts });
        let pinned = match &self.pin {
            Pin::Exact(pins) | Pin::Either(pins, _) => pins.contains(&fingerprint),
            Pin::Authorities(_) | Pin::FirstUse => false,
        };
        if let Some(chains) = self.chains.as_ref().filter(|_| !pinned) {
            return chains.verify_server_cert(certificate, intermediates, name, ocsp, now);
        }
        match &self.pin {
            _ if pinned => Ok(ServerCertVerified::assertion()),
            Pin::FirstUse => Ok(ServerCertVerified::assertion()),
            Pin::Exact(_) | Pin::Authorities(_) | Pin::Either(..) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
