//! Asking another machine, one with an `Authority`, to renew this machine's certificate.

use std::time::Duration;

use api::{
    connect::{Authorities, Connector, Identity, Pin},
    endpoint::Endpoint,
    v1::{self, enrolment_client::EnrolmentClient},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{
    pki::node::{self, Held},
    trace::chain,
};

/// For one machine to answer.
const WITHIN: Duration = Duration::from_secs(10);

/// Asks one after the other, showing `held`, until one has signed; why none did. `accepted`: PEM of the authorities whose
/// machines are trusted.
pub(crate) async fn renew(from: &[String], accepted: &str, held: &Held, node: &node::Handle) -> Result<(), String> {
    let mut failures = Vec::new();
    for place in from {
        let asked = tokio::time::timeout(WITHIN, ask(place, accepted, held, node));
        match asked.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => failures.push(format!("{place}: {why}")),
            Err(_) => failures.push(format!("{place}: no answer within {} s", WITHIN.as_secs())),
        }
    }
    Err(failures.join("; "))
}

async fn ask(place: &str, accepted: &str, held: &Held, node: &node::Handle) -> Result<(), String> {
    let words = |error: &dyn std::error::Error| chain(error);
    let endpoint: Endpoint = place.parse().map_err(|error| words(&error))?;
    let authorities = Authorities::from_pem(accepted).map_err(|error| words(&error))?;
    let own = held.chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(held.key.der().to_vec()));
    let identity = Identity::from_der(own, key).map_err(|error| words(&error))?;
    let connector = Connector::new(endpoint, Pin::Authorities(authorities)).client(Some(identity));
    let channel = connector.connect().await.map_err(|error| words(&error))?;
    let request = node.request_for(held.chain[0].names.clone()).await.map_err(|error| words(&error))?.pem();
    let answer = EnrolmentClient::new(channel).renew_node(v1::RenewRequest { request }).await;
    let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
    node.install(&answer.certificate).await.map_err(|error| words(&error))?;
    Ok(())
}
