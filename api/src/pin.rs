//! Trusting a node by its certificate's fingerprint, and by nothing else.
//!
//! Invariant: the handshake's signature is always verified, so that a certificate that was only copied proves nothing.
//! Called by `connect`, once for each connection: nothing is resumed, so every connection is checked.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::fingerprint::Fingerprint;

/// What makes a node the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Its certificate has one of these fingerprints.
    Exact(Vec<Fingerprint>),
    /// Whatever answers first is trusted; later connections of the same connector must show the same certificate.
    FirstUse,
}

/// Compares the certificate with a pin and keeps what was seen.
#[derive(Debug)]
pub(crate) struct Verifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

impl Verifier {
    pub(crate) fn new(pin: Pin, provider: Arc<CryptoProvider>) -> Self {
        Self { pin, provider, seen: Mutex::new(None) }
    }

    /// The fingerprint of the certificate that the peer showed, if it came to that.
    pub(crate) fn seen(&self) -> Option<Fingerprint> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Fingerprint::of_der(certificate);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        match &self.pin {
            Pin::Exact(pins) if !pins.contains(&seen) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Pin::Exact(_) | Pin::FirstUse => Ok(ServerCertVerified::assertion()),
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
