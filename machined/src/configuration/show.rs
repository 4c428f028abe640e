//! The configuration as resources: documents, revisions, and how it is doing.

use reconcile::{ClaimError, Store, Writer};
use tokio::time::Instant;

use super::active::Active;
use super::handle::Listed;
use super::revisions::{Id, Pointers};
use super::trial::Running;
use crate::resources::config_status::{ConfigStatus, Trial};
use crate::resources::document::Document;
use crate::resources::revision::Revision;
use crate::uptime;

const OWNER: &str = "config";

/// The writers.
#[derive(Debug)]
pub(super) struct Show {
    documents: Writer<Document>,
    revisions: Writer<Revision>,
    status: Writer<ConfigStatus>,
}

impl Show {
    pub(super) fn new(store: &Store) -> Result<Self, ClaimError> {
        Ok(Self { documents: store.writer(OWNER)?, revisions: store.writer(OWNER)?, status: store.writer(OWNER)? })
    }

    pub(super) fn documents(&self, revision: Id, documents: &config::Documents) {
        self.documents.replace_all(documents.iter().map(|document| {
            let shown = Document {
                kind: document.kind().to_owned(),
                name: document.name.clone().unwrap_or_default(),
                line: document.at.line,
                revision,
                body: document.json(),
            };
            (document.id(), shown)
        }));
    }

    pub(super) fn revisions(&self, pointers: &Pointers, trial: Option<Id>, all: &[Listed]) {
        self.revisions.replace_all(all.iter().map(|listed| {
            let id = listed.id;
            let marks = [
                ("current", pointers.current == Some(id)),
                ("blessed", pointers.blessed == Some(id)),
                ("staged", pointers.staged == Some(id)),
                ("trial", trial == Some(id)),
            ];
            let marks = marks.into_iter().filter(|(_, set)| *set).map(|(mark, _)| mark.to_owned()).collect();
            let shown = match &listed.meta {
                Ok(meta) => Revision {
                    digest: meta.digest.clone(),
                    created_unix: meta.created_unix,
                    author: meta.author.clone(),
                    message: meta.message.clone(),
                    marks,
                    secrets: meta.secrets.clone(),
                    unreadable: String::new(),
                },
                Err(why) => Revision {
                    digest: String::new(),
                    created_unix: 0,
                    author: String::new(),
                    message: String::new(),
                    marks,
                    secrets: Vec::new(),
                    unreadable: why.clone(),
                },
            };
            (format!("{id:08}"), shown)
        }));
    }

    pub(super) fn status(
        &self,
        active: &Active,
        pointers: &Pointers,
        trial: Option<&Running>,
        reason: &str,
        pending_reboot: &[String],
    ) {
        let trial = trial.map(|trial| {
            let left = trial.deadline.saturating_duration_since(Instant::now());
            Trial {
                revision: trial.revision,
                back: trial.back,
                deadline_uptime_ms: uptime::now_ms() + u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
                boots: trial.boots,
            }
        });
        let status = ConfigStatus {
            state: active.state,
            reason: reason.to_owned(),
            decided: active.decided(),
            revision: active.revision.unwrap_or(0),
            blessed: pointers.blessed.unwrap_or(0),
            staged: pointers.staged.unwrap_or(0),
            trial,
            pending_reboot: pending_reboot.to_vec(),
            given_up: pointers.given_up.clone(),
        };
        self.status.put(ConfigStatus::ID, status);
    }
}
