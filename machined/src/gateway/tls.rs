//! What the gateway speaks TLS with, built from the keys machined sent: one immutable value, swapped as a whole.
//!
//! Invariant: TLS 1.3 only, HTTP/2 only, no session resumption (a resumed session would outlive a revocation). With
//! accepted authorities a client certificate is mandatory; without any, none is asked for. New terms end the connections of
//! those who would not be let in by them, and no others. Built by `follow`, used by `listen` and `session`.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use api::roles::Role;
use ipnet::IpNet;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    server::NoServerSessionStorage,
};

use super::{
    admit::Admission,
    keys::{Accepted, Keys},
    preamble::Certificate,
};

/// Why keys cannot be used, or a client's certificate not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An accepted authority is not a certificate.
    #[error("the accepted authority number {0} is not usable")]
    Authority(usize, #[source] rustls::Error),
    /// Certificate or key is not usable, or they do not belong together.
    #[error("the node's certificate and key are not usable")]
    Identity(#[source] rustls::Error),
    /// A client certificate that TLS accepted and that does not parse.
    #[error("the client's certificate cannot be read")]
    Client(#[source] api::pki::Error),
    /// Let in by the handshake and not any more a moment later.
    #[error("the client's certificate is not let in")]
    Refused(#[source] rustls::Error),
}

/// The terms on which clients are let in.
#[derive(Debug)]
pub struct Terms {
    /// For the handshakes of those who come from where they may.
    config: Arc<ServerConfig>,
    /// For all others; none: their connections are closed.
    elsewhere: Option<Arc<ServerConfig>>,
    allow: Vec<IpNet>,
    /// None: in maintenance.
    admission: Option<Admission>,
}

/// Who was let in, as far as it matters for staying.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What machined is told; none in maintenance.
    pub certificate: Option<Certificate>,
    address: IpAddr,
    chain: Vec<CertificateDer<'static>>,
    authority: Option<Accepted>,
    not_after: i64,
}

impl Terms {
    /// Checks the keys and makes them ready for use.
    pub fn build(keys: &Keys) -> Result<Self, Error> {
        let admission = match keys.accepted.as_slice() {
            [] => None,
            _ => Some(Admission::build(keys).map_err(|(n, error)| Error::Authority(n, error))?),
        };
        let rescue = admission.as_ref().and_then(Admission::for_rescue);
        let elsewhere = rescue.map(|rescue| configure(keys, Some(rescue))).transpose()?;
        let config = configure(keys, admission.clone())?;
        Ok(Self { config, elsewhere, allow: keys.allow.clone(), admission })
    }

    /// For the handshake with a client from this address; none: it is turned away.
    pub fn config(&self, address: IpAddr) -> Option<Arc<ServerConfig>> {
        if self.allows(address) { Some(self.config.clone()) } else { self.elsewhere.clone() }
    }

    fn allows(&self, address: IpAddr) -> bool {
        // machined asks itself over the loopback.
        self.allow.is_empty() || address.is_loopback() || self.allow.iter().any(|network| network.contains(&address))
    }

    /// Who shook hands: `chain` is what the client showed.
    pub fn guest(&self, address: IpAddr, chain: Option<&[CertificateDer<'_>]>) -> Result<Guest, Error> {
        let chain: Vec<_> = chain.unwrap_or_default().iter().map(|der| der.clone().into_owned()).collect();
        let guest = Guest { certificate: None, address, chain, authority: None, not_after: i64::MAX };
        let (Some(admission), Some(own)) = (&self.admission, guest.chain.first()) else { return Ok(guest) };
        let authority = admission.admit(&guest.chain, UnixTime::now()).map_err(Error::Refused)?.accepted.clone();
        let (certificate, not_after) = describe(own, authority.rescue)?;
        Ok(Guest { certificate: Some(certificate), authority: Some(authority), not_after, ..guest })
    }

    /// Whether somebody who was let in before may stay.
    pub fn keep(&self, guest: &Guest) -> bool {
        let (admission, certificate, authority) = match (&self.admission, &guest.certificate, &guest.authority) {
            (None, None, _) => return self.allows(guest.address),
            (Some(admission), Some(certificate), Some(authority)) => (admission, certificate, authority),
            // Maintenance began or ended.
            _ => return false,
        };
        (certificate.rescue || self.allows(guest.address))
            && !admission.is_revoked(&certificate.fingerprint)
            // Found at once, or the same authority with another certificate.
            && (admission.accepts(authority) || admission.admit(&guest.chain, UnixTime::now()).is_ok())
    }

    /// Whether this client's certificate has come to its end, by a clock that can be believed.
    pub fn is_over(&self, guest: &Guest) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let sure = self.admission.as_ref().is_some_and(Admission::clock_sure);
        sure && i64::try_from(now).is_ok_and(|now| now > guest.not_after)
    }
}

fn configure(keys: &Keys, admission: Option<Admission>) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::Identity)?;
    let builder = match admission {
        None => builder.with_no_client_auth(),
        Some(admission) => builder.with_client_cert_verifier(Arc::new(admission)),
    };
    let chain = keys.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(keys.key.to_vec()));
    let mut config = builder.with_single_cert(chain, key).map_err(Error::Identity)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// What machined is told about a verified client certificate, and its end.
pub fn describe(der: &[u8], rescue: bool) -> Result<(Certificate, i64), Error> {
    let parsed = api::pki::Certificate::from_der(der).map_err(Error::Client)?;
    let fingerprint = crate::pki::fingerprint(der);
    // Only nodes are asked for theirs; what anybody else's certificate says is nobody's business.
    let names = if parsed.roles().contains(&Role::Node) { parsed.names } else { Vec::new() };
    let api::pki::Certificate { subject, common_name, organisations, not_before, not_after, .. } = parsed;
    let told = Certificate { subject, common_name, organisations, fingerprint, rescue, names, not_before, not_after };
    Ok((told, not_after))
}

/// Whether the gateway could check clients against this authority (DER); asked before a configuration with it is taken.
///
/// # Errors
/// It is not usable, as the TLS library says.
pub fn check_authority(der: &[u8]) -> Result<(), rustls::Error> {
    RootCertStore::empty().add(CertificateDer::from(der.to_vec()))?;
    match api::pki::Certificate::from_der(der) {
        Ok(certificate) if certificate.is_authority => Ok(()),
        Ok(_) => Err(rustls::Error::General("it may not sign certificates".into())),
        Err(error) => Err(rustls::Error::General(error.to_string())),
    }
}
