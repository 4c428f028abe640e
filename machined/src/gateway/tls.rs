//! What the gateway speaks TLS with, built from the keys machined sent: one immutable value, swapped as a whole.
//!
//! Invariant: TLS 1.3 only, HTTP/2 only, no session resumption (a resumed session would outlive a revocation). With
//! accepted authorities a client certificate is mandatory; without any, none is asked for. Built by `follow`, used by
//! `session`.

use std::{collections::HashSet, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    keys::{Accepted, Keys},
    preamble::Certificate,
};
use crate::pki::fingerprint;

/// Why keys cannot be used, or a client's certificate not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An accepted authority is not a certificate.
    #[error("the accepted authority number {0} is not usable")]
    Authority(usize, #[source] rustls::Error),
    /// The set of authorities is not usable.
    #[error("the accepted authorities are not usable")]
    Authorities(#[source] rustls::server::VerifierBuilderError),
    /// Certificate or key is not usable, or they do not belong together.
    #[error("the node's certificate and key are not usable")]
    Identity(#[source] rustls::Error),
    /// A client certificate that TLS accepted and that does not parse.
    #[error("the client's certificate cannot be read")]
    Client,
}

/// The terms on which clients are let in.
#[derive(Debug)]
pub struct Terms {
    /// For the handshakes.
    pub config: Arc<ServerConfig>,
    accepted: Vec<Accepted>,
    revoked: Arc<HashSet<[u8; 32]>>,
}

impl Terms {
    /// Checks the keys and makes them ready for use.
    pub fn build(keys: &Keys) -> Result<Self, Error> {
        let revoked: Arc<HashSet<_>> = Arc::new(keys.revoked.iter().copied().collect());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Error::Identity)?;
        let builder = if keys.accepted.is_empty() {
            builder.with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            for (n, Accepted { der, .. }) in keys.accepted.iter().enumerate() {
                roots.add(CertificateDer::from(der.clone())).map_err(|e| Error::Authority(n, e))?;
            }
            let chains = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(Error::Authorities)?;
            builder.with_client_cert_verifier(Arc::new(Verifier { chains, revoked: revoked.clone() }))
        };
        let chain = keys.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(keys.key.to_vec()));
        let mut config = builder.with_single_cert(chain, key).map_err(Error::Identity)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), accepted: keys.accepted.clone(), revoked })
    }

    /// Whether somebody let in on the terms `before` would be let in on these too.
    pub fn keep(&self, before: &Self, client: Option<&Certificate>) -> bool {
        self.accepted == before.accepted && client.is_none_or(|client| !self.revoked.contains(&client.fingerprint))
    }
}

/// Whether the gateway could check clients against this authority (DER); asked before a configuration with it is taken.
///
/// # Errors
/// It is not usable, as the TLS library says.
pub fn check_authority(der: &[u8]) -> Result<(), rustls::Error> {
    RootCertStore::empty().add(CertificateDer::from(der.to_vec()))
}

/// What machined is told about a verified client certificate.
pub fn describe(der: &[u8]) -> Result<Certificate, Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Error::Client)?;
    let subject = certificate.subject();
    let organisations = subject.iter_organization().map(|o| o.as_str().map(str::to_owned)).collect::<Result<_, _>>();
    Ok(Certificate {
        subject: subject.to_string(),
        organisations: organisations.map_err(|_| Error::Client)?,
        fingerprint: fingerprint(der),
    })
}

/// The chain check of webpki, and our list of revocations.
#[derive(Debug)]
struct Verifier {
    chains: Arc<dyn ClientCertVerifier>,
    revoked: Arc<HashSet<[u8; 32]>>,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.revoked.contains(&fingerprint(end_entity)) {
            return Err(rustls::CertificateError::Revoked.into());
        }
        self.chains.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
