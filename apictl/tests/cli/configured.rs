//! The fake node's configuration: Config, Enrolment, and the switch to mutual TLS.
//!
//! Invariant: as a real node it lets strangers in until the first Apply, and from then on only whom the document Api
//! accepts, with the certificate that came with that Apply.

use std::sync::Arc;

use api::{
    pki::{Ca, Certificate, Client, Key, Request as Csr},
    roles::Role,
    v1::{
        ApplyMode, ApplyRequest, ApplyResponse, Change, ConfirmRequest, ConfirmResponse, Effect,
        EnrolmentRequestRequest, EnrolmentRequestResponse, HistoryRequest, HistoryResponse, InstallRequest,
        InstallResponse, Object, Problem, ReadRequest, ReadResponse, RenewRequest, RenewResponse, RevertRequest,
        Revision, change::Action, config_server::Config, enrolment_server::Enrolment,
    },
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tonic::{Code, Request, Response, Result, Status};

use crate::{
    fake::Node,
    service::{Service, refusal},
};

/// What the node is configured with.
pub(crate) struct Configured {
    pub(crate) key: Key,
    pub(crate) revisions: Vec<ApplyRequest>,
    /// Of the resource config-status.
    pub(crate) status: Value,
    /// What Apply is answered with.
    pub(crate) problems: Vec<Problem>,
    /// Takes an Apply, and its connection breaks before the answer.
    pub(crate) loses_answer: bool,
    /// The revision on trial is not confirmed, however often it is asked for.
    pub(crate) gives_up: bool,
    /// Connections that were made, and how many there were when a trial was confirmed.
    pub(crate) connections: usize,
    pub(crate) confirmed_at: Option<usize>,
    /// The authority of the node, and what it signs for.
    pub(crate) authority: Option<Ca>,
    pub(crate) installed: Vec<String>,
    /// Its own certificate, and the secrets it was given.
    pub(crate) chain: String,
    pub(crate) secrets: config::Secrets,
    pub(crate) current: usize,
    /// The audit log, as it lies on the disk.
    pub(crate) audit: Vec<Vec<u8>>,
}

impl Configured {
    pub(crate) fn new() -> Self {
        Self {
            key: Key::make().unwrap(),
            revisions: Vec::new(),
            status: json!({ "state": "unconfigured", "decided": true, "revision": 0 }),
            problems: Vec::new(),
            loses_answer: false,
            gives_up: false,
            connections: 0,
            confirmed_at: None,
            authority: None,
            installed: Vec::new(),
            chain: String::new(),
            secrets: config::Secrets::default(),
            current: 0,
            audit: Vec::new(),
        }
    }

    /// The resource config-status.
    pub(crate) fn object(&self) -> Object {
        Object {
            r#type: "config-status".into(),
            id: "config".into(),
            version: 1,
            owner: "test".into(),
            phase: api::v1::object::Phase::Running.into(),
            value: self.status.to_string(),
        }
    }
}

/// TLS 1.3 for this certificate; with authorities only for their clients.
pub(crate) fn tls(chain: Vec<CertificateDer<'static>>, key: &[u8], accepted: &[Certificate]) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let builder = if accepted.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        accepted.iter().for_each(|ca| roots.add(ca.der().to_vec().into()).unwrap());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

impl Node {
    /// Serves as the newest revision says, from the next connection on.
    fn switch(&self, documents: &str, certificate: &str) {
        let stream = config::parse(documents).unwrap();
        let (_, api) = stream.documents.of::<config::kinds::Api>().next().unwrap();
        let accepted: Vec<_> =
            api.accept.iter().map(|accepted| Certificate::parse(&accepted.certificate).unwrap()).collect();
        let authority = stream.documents.of::<config::kinds::Authority>().next().map(|(_, authority)| authority);
        let mut state = self.state.lock().unwrap();
        let now = &mut state.configured;
        if !certificate.is_empty() {
            now.chain = certificate.to_owned();
        }
        // A node with an Authority signs for itself, at once.
        if let Some(authority) = authority
            && let Some(secret) = now.secrets.get(&authority.secret)
        {
            let ca = Ca::load(&authority.certificate, secret.key.as_ref().unwrap().as_str()).unwrap();
            let names = vec!["stele-1".to_owned(), "127.0.0.1".to_owned()];
            let request = now.key.request("stele-1", &names).unwrap();
            let day = std::time::Duration::from_secs(24 * 3600);
            now.chain = ca.sign_node(&request, &api::pki::Node { names, ttl: day }).unwrap().pem();
            now.authority = Some(ca);
        }
        let chain = Certificate::chain(&now.chain).unwrap().iter().map(|one| one.der().to_vec().into()).collect();
        *self.tls.lock().unwrap() = tls(chain, &now.key.der(), &accepted);
    }

    fn point(&self, revision: usize, mode: ApplyMode) {
        self.change(|state| {
            let now = &mut state.configured;
            now.current = revision;
            now.status = match (mode, now.gives_up) {
                (ApplyMode::Trial, false) => {
                    json!({ "state": "reached", "revision": revision, "trial": { "revision": revision, "back": 1 } })
                }
                (ApplyMode::Trial, true) => json!({
                    "state": "blessed", "revision": revision - 1,
                    "givenUp": format!("revision {revision} was given up: its trial was over"),
                }),
                (ApplyMode::Staged, _) => {
                    json!({ "state": "blessed", "revision": revision - 1, "staged": revision })
                }
                _ => json!({ "state": "blessed", "revision": revision }),
            };
        });
    }
}

#[tonic::async_trait]
impl Config for Service {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>> {
        let apply = request.into_inner();
        let (problems, current) = {
            let state = self.0.state.lock().unwrap();
            (state.configured.problems.clone(), state.configured.current as u64)
        };
        if apply.expected_revision != 0 && apply.expected_revision != current {
            return Err(refusal(Code::Aborted, &format!("revision {current} is the current one"), "look again"));
        }
        let change = Change {
            document: "Hostname".into(),
            action: Action::Changed.into(),
            effect: Effect::Live.into(),
            fields: vec!["hostname".into()],
            restarts: vec![],
        };
        let mut answer =
            ApplyResponse { changes: vec![change], mode: apply.mode, problems, ..ApplyResponse::default() };
        answer.set_effect(Effect::Live);
        if apply.dry_run || !answer.problems.is_empty() {
            return Ok(Response::new(answer));
        }
        let mode = apply.mode();
        let (documents, certificate) = (apply.documents.clone(), apply.node_certificate.clone());
        let given = if apply.secrets.is_empty() { None } else { config::parse(&apply.secrets).unwrap().secrets };
        let revision = self.0.change(|state| {
            state.configured.secrets.secrets.extend(given.unwrap_or_default().secrets.clone());
            state.configured.revisions.push(apply);
            state.configured.revisions.len()
        });
        self.0.switch(&documents, &certificate);
        self.0.point(revision, mode);
        if self.0.state.lock().unwrap().configured.loses_answer {
            // Until the test cuts it.
            std::future::pending::<()>().await;
        }
        answer.revision = revision as u64;
        Ok(Response::new(answer))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<ReadResponse>> {
        let state = self.0.state.lock().unwrap();
        let id = match request.into_inner().revision {
            0 => state.configured.current as u64,
            id => id,
        };
        let found = id.checked_sub(1).and_then(|at| state.configured.revisions.get(usize::try_from(at).unwrap()));
        let found = found.ok_or_else(|| refusal(Code::NotFound, "no such revision", "apictl config history"))?;
        let revision = Some(Revision { id, ..Revision::default() });
        Ok(Response::new(ReadResponse { revision, documents: found.documents.clone() }))
    }

    async fn history(&self, _: Request<HistoryRequest>) -> Result<Response<HistoryResponse>> {
        let state = self.0.state.lock().unwrap();
        let revision = |(at, apply): (usize, &ApplyRequest)| Revision {
            id: at as u64 + 1,
            message: apply.message.clone(),
            author: "CN=admin".into(),
            current: at + 1 == state.configured.current,
            ..Revision::default()
        };
        let revisions = state.configured.revisions.iter().enumerate().map(revision).rev().collect();
        Ok(Response::new(HistoryResponse { revisions }))
    }

    async fn confirm(&self, request: Request<ConfirmRequest>) -> Result<Response<ConfirmResponse>> {
        let asked = request.into_inner().revision;
        self.0.change(|state| {
            let now = &mut state.configured;
            if now.status["state"] != "reached" {
                return Err(refusal(Code::FailedPrecondition, "nothing is on trial", ""));
            }
            now.confirmed_at = Some(now.connections);
            now.status = json!({ "state": "blessed", "revision": now.current });
            Ok(Response::new(ConfirmResponse { revision: if asked == 0 { now.current as u64 } else { asked } }))
        })
    }

    async fn revert(&self, request: Request<RevertRequest>) -> Result<Response<ApplyResponse>> {
        let request = request.into_inner();
        let to = if request.revision == 0 { 1 } else { request.revision };
        if !request.dry_run {
            self.0.point(usize::try_from(to).unwrap(), request.mode());
        }
        let revision = if request.dry_run { 0 } else { to };
        Ok(Response::new(ApplyResponse { revision, mode: request.mode, ..ApplyResponse::default() }))
    }
}

#[tonic::async_trait]
impl Enrolment for Service {
    async fn request(&self, _: Request<EnrolmentRequestRequest>) -> Result<Response<EnrolmentRequestResponse>> {
        let names = vec!["stele-1".to_owned(), "127.0.0.1".to_owned()];
        let request = self.0.state.lock().unwrap().configured.key.request("stele-1", &names).unwrap();
        Ok(Response::new(EnrolmentRequestResponse { request: request.pem(), names }))
    }

    async fn install(&self, request: Request<InstallRequest>) -> Result<Response<InstallResponse>> {
        let pem = request.into_inner().certificate;
        let not_after_unix = Certificate::chain(&pem).unwrap()[0].not_after;
        let documents = self.0.change(|state| {
            state.configured.installed.push(pem.clone());
            state.configured.revisions.last().map(|apply| apply.documents.clone())
        });
        if let Some(documents) = documents {
            self.0.switch(&documents, &pem);
        }
        Ok(Response::new(InstallResponse { not_after_unix }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>> {
        let csr = Csr::from_pem(&request.into_inner().request).unwrap();
        let state = self.0.state.lock().unwrap();
        let Some(ca) = &state.configured.authority else {
            return Err(Status::failed_precondition("the node has no Authority"));
        };
        let client = Client {
            common_name: "renewed".into(),
            role: Role::Admin,
            ttl: std::time::Duration::from_secs(720 * 3600),
        };
        let certificate = ca.sign_client(&csr, &client).unwrap().pem();
        Ok(Response::new(RenewResponse { certificate, accepted: ca.certificate().pem() }))
    }

    async fn renew_node(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>> {
        Err(Status::unimplemented("not asked for by clients"))
    }
}
