//! machined as a client of its own API: an authority and a certificate that exist in its memory alone, so that it can ask
//! itself the way others do. Made when they are first needed: a machine in maintenance never does.
//!
//! Invariant: the certificate has the role [`Role::Probe`], which may ask for the API's health and nothing else.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::connect;
use api::pki::{Ca, Client, Error, Key};
use api::roles::Role;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::trace::chain;

/// As long as any machined lives.
const LIFETIME: Duration = Duration::from_secs(9 * 365 * 24 * 3600);

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
    let (ca, key) = (Ca::make("machined")?, Key::make()?);
    let client = Client { common_name: "machined".into(), role: Role::Probe, ttl: LIFETIME };
    let certificate = ca.sign_client(&key.request("machined", &[])?, &client)?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.der().to_vec()));
    let failed = |error: api::client::Error| Error::Make { what: "an identity", why: error.to_string() };
    let client = connect::Identity::from_der(chain, private).map_err(failed)?;
    Ok(Made { authority: ca.certificate().der().to_vec(), client })
}
