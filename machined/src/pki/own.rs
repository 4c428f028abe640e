//! machined as a client of its own API: a certificate that exists in its memory alone, so that it can ask itself the way others
//! do. Made when it is first needed: a machine in maintenance never does.
//!
//! Invariant: it is its own authority, and may sign nothing else. It is valid whatever the clock says, and however the clock is
//! set while machined runs. It has the role [`Role::Probe`], which may ask for the API's health and nothing else.

use std::sync::{Arc, OnceLock};

use api::connect;
use api::pki::Error;
use api::roles::Role;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::trace::chain;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Own(Arc<OnceLock<Option<Made>>>);

#[derive(Debug)]
struct Made {
    authority: Vec<u8>,
    client: connect::Identity,
}

impl Own {
    /// The authority's certificate, DER; none when it cannot be made.
    pub fn authority(&self) -> Option<Vec<u8>> {
        self.made().map(|made| made.authority.clone())
    }

    /// What it shows itself as.
    pub fn client(&self) -> Option<connect::Identity> {
        self.made().map(|made| made.client.clone())
    }

    fn made(&self) -> Option<&Made> {
        let make = || make().inspect_err(|error| tracing::error!("machined cannot ask itself: {}", chain(error))).ok();
        self.0.get_or_init(make).as_ref()
    }
}

fn make() -> Result<Made, Error> {
    let failed = |error: rcgen::Error| Error::Make { what: "a certificate", why: error.to_string() };
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "machined");
    params.distinguished_name.push(DnType::OrganizationName, Role::Probe.organisation());
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(1970, 1, 1), rcgen::date_time_ymd(9999, 12, 31));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key).map_err(failed)?.der().to_vec();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let apart = |error: api::client::Error| Error::Make { what: "an identity", why: error.to_string() };
    let client =
        connect::Identity::from_der(vec![CertificateDer::from(certificate.clone())], private).map_err(apart)?;
    Ok(Made { authority: certificate, client })
}
