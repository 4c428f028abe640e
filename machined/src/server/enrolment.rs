//! The service Enrolment: this node's own request and its answer; certificates for clients and for other nodes.
//!
//! Invariant: nobody gets more than they have. Who renews shows what is to be renewed by the very connection, gets the same name
//! and the same role, and never from a certificate of the rescue. Only a machine whose documents hold an `Authority` signs.

use std::sync::Arc;

use api::{
    pki::{Ca, Client, Node, Request as Csr},
    roles::Role,
    v1::{self, enrolment_server::Enrolment},
};
use config::kinds::{Api, Authority};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{error::Error, peer::Peer};
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
    let peer = request.extensions().get::<Peer>().cloned().ok_or(Error::NoPeer)?;
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
        let wanted =
            Client { common_name: certificate.common_name.clone(), role, ttl: signer.api.certificates.client.0 };
        let signed = signer.ca.sign_client(&parse(&request.get_ref().request)?, &wanted).map_err(Error::from)?;
        self.events.info("certificate", format!("renewed for {}, from {}", signed.subject, peer.address.ip()));
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
        let wanted = Node { names: certificate.names.clone(), ttl: signer.api.certificates.server.0 };
        let signed = signer.ca.sign_node(&csr, &wanted).map_err(Error::from)?;
        self.events.info("certificate", format!("renewed for {}, from {}", signed.subject, peer.address.ip()));
        Ok(signer.answer(&signed))
    }
}
