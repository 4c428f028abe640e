//! The service Enrolment: this node's own request and its answer; certificates for clients and for other nodes.
//!
//! Invariant: nobody gets more than they have. Who renews shows what is to be renewed by the very connection, gets the same name
//! and the same role for no longer than it was given, and never from a certificate of the rescue. Only a machine whose documents hold an `Authority` signs.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::{
    fingerprint::Fingerprint,
    pki::{BACK, Ca, Client, Node, Request as Csr},
    roles::Role,
    v1::{self, enrolment_server::Enrolment},
};
use config::kinds::{Api, Authority};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    error::Error,
    peer::{Caller, Peer},
};
use crate::{configuration::Active, events::Events, gateway::preamble::Certificate, pki::node, trace::chain};

/// A request or a chain: certificates of some KiB.
pub(super) const REQUEST: usize = 64 * 1024;

/// Serves what this machine can sign, and takes what was signed for it.
#[derive(Debug)]
pub(super) struct Enrolments {
    active: watch::Receiver<Arc<Active>>,
    node: node::Handle,
    events: Events,
}

/// Who signs here, and for how long.
struct Signer {
    ca: Ca,
    api: Api,
}

impl Enrolments {
    /// Of this machine.
    pub(super) fn new(active: watch::Receiver<Arc<Active>>, node: node::Handle, events: Events) -> Self {
        Self { active, node, events }
    }

    fn signer(&self) -> Result<Signer, Error> {
        let active = self.active.borrow().clone();
        let (_, authority) = active.documents.of::<Authority>().next().ok_or(Error::NoAuthority)?;
        let (_, api) = active.documents.of::<Api>().next().ok_or(Error::NoAuthority)?;
        let key = active.secrets.get(&authority.secret).and_then(|secret| secret.key.as_ref());
        let key = key.ok_or_else(|| Error::BadAuthority(format!("the secret {} has no key", authority.secret)))?;
        let ca = Ca::load(&authority.certificate, key.as_str()).map_err(|error| Error::BadAuthority(chain(&error)))?;
        Ok(Signer { ca, api: api.clone() })
    }
}

impl Signer {
    fn answer(&self, signed: &api::pki::Certificate) -> Response<v1::RenewResponse> {
        let accepted = self.api.accept.iter().map(|one| format!("{}\n", one.certificate.trim())).collect();
        Response::new(v1::RenewResponse { certificate: signed.pem() + &self.ca.certificate().pem(), accepted })
    }
}

/// The certificate that the caller shows by its connection.
fn shown<T>(request: &Request<T>) -> Result<(Peer, Arc<Certificate>), Error> {
    let peer = Caller::of(request)?.peer;
    let certificate = peer.certificate.clone().ok_or(Error::NoPeer)?;
    if certificate.rescue {
        return Err(Error::NotRenewed("a certificate of the rescue authority is not renewed: sign another one"));
    }
    Ok((peer, certificate))
}

fn parse(request: &str) -> Result<Csr, Error> {
    Csr::from_pem(request).map_err(|error| Error::Invalid { field: "request", why: chain(&error) })
}

/// The one role that it has.
fn role(certificate: &Certificate) -> Result<Role, Error> {
    let mut roles = certificate.organisations.iter().filter_map(|o| Role::of_organisation(o));
    match (roles.next(), roles.next()) {
        (Some(role), None) => Ok(role),
        _ => Err(Error::NotRenewed("only a certificate with one role is renewed: sign another one")),
    }
}

/// How long what takes its place is good: as long as it was itself when it was new, and `most` at most.
fn ttl(certificate: &Certificate, most: Duration, now: SystemTime) -> Result<Duration, Error> {
    let Certificate { not_before, not_after, .. } = *certificate;
    let seconds = |unix: i64| Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    let over = now.duration_since(UNIX_EPOCH).unwrap_or_default() > seconds(not_after);
    if over {
        return Err(Error::NotRenewed("the certificate is over, by this machine's clock: sign another one"));
    }
    // What is signed begins BACK ago; with that it would be longer each time.
    match seconds(not_after.saturating_sub(not_before)).saturating_sub(BACK) {
        Duration::ZERO => Err(Error::NotRenewed("a certificate of an hour at most is not renewed: sign another one")),
        given => Ok(given.min(most)),
    }
}

impl Enrolments {
    /// Says what is valid now beside what was shown: who revokes one finds the other.
    fn tell(&self, peer: &Peer, old: &Certificate, signed: &api::pki::Certificate) {
        let (new, old) = (signed.fingerprint(), Fingerprint::from(old.fingerprint));
        let from = peer.address.ip();
        self.events.info("certificate", format!("renewed for {}, from {from}: {new} beside {old}", signed.subject));
    }
}

#[tonic::async_trait]
impl Enrolment for Enrolments {
    async fn request(
        &self,
        _: Request<v1::EnrolmentRequestRequest>,
    ) -> Result<Response<v1::EnrolmentRequestResponse>, Status> {
        let request = self.node.request().await.map_err(Error::from)?;
        Ok(Response::new(v1::EnrolmentRequestResponse { request: request.pem(), names: request.names }))
    }

    async fn install(&self, request: Request<v1::InstallRequest>) -> Result<Response<v1::InstallResponse>, Status> {
        let held = self.node.install(&request.into_inner().certificate).await.map_err(Error::from)?;
        let own = &held.chain[0];
        self.events.info("certificate", format!("installed: {}, signed by {}", own.subject, own.issuer));
        Ok(Response::new(v1::InstallResponse { not_after_unix: own.not_after }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let (peer, certificate) = shown(&request)?;
        let role = role(&certificate)?;
        if !Role::CLIENTS.contains(&role) {
            return Err(Error::NotRenewed("this is not the certificate of a client").into());
        }
        let signer = self.signer()?;
        let ttl = ttl(&certificate, signer.api.certificates.client.0, SystemTime::now())?;
        let wanted = Client { common_name: certificate.common_name.clone(), role, ttl };
        let signed = signer.ca.sign_client(&parse(&request.get_ref().request)?, &wanted).map_err(Error::from)?;
        self.tell(&peer, &certificate, &signed);
        Ok(signer.answer(&signed))
    }

    async fn renew_node(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let (peer, certificate) = shown(&request)?;
        let csr = parse(&request.get_ref().request)?;
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        let (has, asks) = (sorted(&certificate.names), sorted(&csr.names));
        if role(&certificate)? != Role::Node || has.is_empty() {
            return Err(Error::NotRenewed("this is not the certificate of a node").into());
        }
        // A request without names asks for those it has.
        if let Some(more) = asks.iter().find(|name| !has.contains(name)) {
            let why = format!("{more:?} is not in the present certificate, which has {}", has.join(", "));
            return Err(Error::Invalid { field: "request", why }.into());
        }
        let signer = self.signer()?;
        let ttl = ttl(&certificate, signer.api.certificates.server.0, SystemTime::now())?;
        let wanted = Node { names: certificate.names.clone(), ttl };
        let signed = signer.ca.sign_node(&csr, &wanted).map_err(Error::from)?;
        self.tell(&peer, &certificate, &signed);
        Ok(signer.answer(&signed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_renewed_for_longer_than_it_was_given() {
        const HOUR: Duration = Duration::from_secs(3600);
        const MOST: Duration = Duration::from_secs(720 * 3600);
        let now = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        // from, until, in hours from now; what it gets
        let cases = [
            ("an hour", -1, 1, Some(HOUR)),
            ("an hour, almost over", -2, 0, Some(HOUR)),
            ("a month", -1, 720, Some(MOST)),
            ("a year", -1, 8760, Some(MOST)),
            ("over", -3, -1, None),
            ("too short", 0, 1, None),
            ("ends before it begins", 2, 1, None),
        ];
        for (name, from, until, expected) in cases {
            let hours = |n: i64| 1_900_000_000 + n * 3600;
            let certificate = Certificate {
                subject: String::new(),
                common_name: String::new(),
                organisations: vec![],
                fingerprint: [0; 32],
                rescue: false,
                names: vec![],
                not_before: hours(from),
                not_after: hours(until),
            };
            assert_eq!(ttl(&certificate, MOST, now).ok(), expected, "{name}");
        }
    }
}
