//! The service Config: documents in, revisions out. Everything is decided by the engine; here are only messages.

use futures_util::TryFutureExt;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::{
    error::Error,
    peer::{Caller, Peer},
};
use crate::configuration::{Apply, Handle, Mode, Outcome, Revert, Way, revisions};
use api::{
    fingerprint::Fingerprint,
    v1::{self, config_server::Config},
};

/// Documents of one revision, in bytes: thousands of them.
const DOCUMENTS: usize = 1 << 20;
/// Secrets, in bytes: hundreds of keys.
const SECRETS: usize = 256 << 10;
/// A whole request, in bytes.
pub(super) const REQUEST: usize = DOCUMENTS + SECRETS + (64 << 10);
/// Characters of a message that are kept.
const MESSAGE: usize = 200;
/// Shorter trials end before anybody could confirm them.
const TRIAL: std::ops::RangeInclusive<u32> = 10..=86_400;

/// Serves what the engine does.
#[derive(Debug)]
pub(super) struct Configs {
    engine: Handle,
}

impl Configs {
    pub(super) fn new(engine: Handle) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl Config for Configs {
    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        let Caller { peer, answered } = Caller::of(&request)?;
        let v1::ApplyRequest {
            documents,
            secrets,
            mode,
            dry_run,
            confirm_within_s,
            expected_revision,
            node_certificate,
            message,
            force,
        } = request.into_inner();
        let secrets = Zeroizing::new(secrets);
        need("documents", documents.len() <= DOCUMENTS, || format!("more than {DOCUMENTS} bytes"))?;
        need("secrets", secrets.len() <= SECRETS, || format!("more than {SECRETS} bytes"))?;
        let mode = parse_mode(mode, confirm_within_s)?;
        let apply = Apply {
            documents,
            secrets: (!secrets.is_empty()).then_some(secrets),
            mode,
            dry_run,
            expected: (expected_revision > 0).then_some(expected_revision),
            first_only: peer.certificate.is_none(),
            certificate: (!node_certificate.is_empty()).then_some(node_certificate),
            author: peer.to_string(),
            way: way(&peer, mode),
            force,
            answered,
            message: message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE).collect(),
        };
        let outcome = self.engine.apply(apply).map_err(Error::from).await?;
        Ok(Response::new(format(outcome, mode)))
    }

    async fn read(&self, request: Request<v1::ReadRequest>) -> Result<Response<v1::ReadResponse>, Status> {
        let id = request.into_inner().revision;
        let (meta, documents) = self.engine.read((id > 0).then_some(id)).map_err(Error::from).await?;
        let revision = Some(v1::Revision { ..describe(meta) });
        Ok(Response::new(v1::ReadResponse { revision, documents }))
    }

    async fn history(&self, _: Request<v1::HistoryRequest>) -> Result<Response<v1::HistoryResponse>, Status> {
        let (pointers, trial, listed) = self.engine.history().map_err(Error::from).await?;
        let revisions = listed.into_iter().map(|listed| {
            let id = listed.id;
            let known = match listed.meta {
                Ok(meta) => describe(meta),
                Err(unreadable) => v1::Revision { id, unreadable, ..Default::default() },
            };
            v1::Revision {
                current: pointers.current == Some(id),
                blessed: pointers.blessed == Some(id),
                staged: pointers.staged == Some(id),
                trial: trial == Some(id),
                ..known
            }
        });
        Ok(Response::new(v1::HistoryResponse { revisions: revisions.collect() }))
    }

    async fn confirm(&self, request: Request<v1::ConfirmRequest>) -> Result<Response<v1::ConfirmResponse>, Status> {
        let id = request.into_inner().revision;
        let revision = self.engine.confirm((id > 0).then_some(id)).map_err(Error::from).await?;
        Ok(Response::new(v1::ConfirmResponse { revision }))
    }

    async fn revert(&self, request: Request<v1::RevertRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        let Caller { peer, answered } = Caller::of(&request)?;
        let v1::RevertRequest { revision, mode, dry_run, confirm_within_s, force } = request.into_inner();
        let mode = parse_mode(mode, confirm_within_s)?;
        let revert =
            Revert { to: (revision > 0).then_some(revision), mode, dry_run, author: peer.to_string(), force, answered };
        let outcome = self.engine.revert(revert).map_err(Error::from).await?;
        Ok(Response::new(format(outcome, mode)))
    }
}

/// How who asks comes in again. A trial ends by itself, and the rescue is let in whatever documents say.
fn way(peer: &Peer, mode: Mode) -> Option<Way> {
    // A stranger brings the first configuration, maybe from a network for that alone.
    let certificate = peer.certificate.as_deref().filter(|certificate| !certificate.rescue)?;
    let fingerprint = Fingerprint::from(certificate.fingerprint).to_string();
    (!matches!(mode, Mode::Trial(_))).then(|| Way { address: peer.address.ip(), fingerprint })
}

fn need(field: &'static str, holds: bool, why: impl FnOnce() -> String) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Invalid { field, why: why() }) }
}

fn parse_mode(mode: i32, within_s: u32) -> Result<Mode, Error> {
    use v1::ApplyMode as Asked;
    let mode = Asked::try_from(mode)
        .map_err(|_| Error::Invalid { field: "mode", why: format!("{mode} is not a mode this version knows") })?;
    need("confirm_within_s", within_s == 0 || mode == Asked::Trial, || "only a trial is confirmed".into())?;
    Ok(match mode {
        Asked::Unspecified | Asked::Auto => Mode::Auto,
        Asked::Staged => Mode::Staged,
        Asked::Reboot => Mode::Reboot,
        Asked::Trial => {
            let (from, to) = (TRIAL.start(), TRIAL.end());
            need("confirm_within_s", TRIAL.contains(&within_s), || format!("a trial lasts {from} to {to} s"))?;
            Mode::Trial(within_s)
        }
    })
}

fn format(outcome: Outcome, mode: Mode) -> v1::ApplyResponse {
    let problems = outcome.problems.map(|problems| problems.0).unwrap_or_default();
    let changes: Vec<v1::Change> = outcome.changes.iter().map(change).collect();
    let mut response = v1::ApplyResponse {
        revision: outcome.revision.unwrap_or(0),
        problems: problems.into_iter().map(problem).collect(),
        effect: changes.iter().map(|change| change.effect).max().unwrap_or(v1::Effect::Nothing.into()),
        changes,
        ..Default::default()
    };
    response.set_mode(match mode {
        Mode::Auto => v1::ApplyMode::Auto,
        Mode::Staged => v1::ApplyMode::Staged,
        Mode::Reboot => v1::ApplyMode::Reboot,
        Mode::Trial(_) => v1::ApplyMode::Trial,
    });
    response
}

fn problem(problem: config::Problem) -> v1::Problem {
    let config::Problem { document, path, line, column, message, .. } = problem;
    v1::Problem { document: u32::try_from(document).unwrap_or(u32::MAX), path, line, column, message }
}

fn change(change: &config::Change) -> v1::Change {
    use v1::change::Action;
    let (effect, restarts) = match &change.effect {
        config::Effect::Nothing => (v1::Effect::Nothing, Vec::new()),
        config::Effect::Live => (v1::Effect::Live, Vec::new()),
        config::Effect::Restarts(services) => (v1::Effect::Restarts, services.clone()),
        config::Effect::Reboot => (v1::Effect::Reboot, Vec::new()),
    };
    let action = match change.action {
        config::Action::Added => Action::Added,
        config::Action::Removed => Action::Removed,
        config::Action::Changed => Action::Changed,
    };
    v1::Change {
        document: change.id.clone(),
        action: action.into(),
        effect: effect.into(),
        restarts,
        fields: change.fields.clone(),
    }
}

fn describe(meta: revisions::Meta) -> v1::Revision {
    let revisions::Meta { id, digest, created_unix, author, message, secrets } = meta;
    let created_unix = i64::try_from(created_unix).unwrap_or(i64::MAX);
    v1::Revision { id, digest, created_unix, author, message, secrets, ..Default::default() }
}
