//! Whether a reset may be asked for, and its wish in META. `machine` stops the machine afterwards; the next start wipes
//! (`controllers::disk::volumes::reset`).
//!
//! Invariant: what is answered is on the disk; what is refused leaves nothing there that would be done later.

use std::time::{SystemTime, UNIX_EPOCH};

use reconcile::Store;

use super::error::Error;
use crate::generations;
use crate::meta::{self, Reset, Scope, State};
use crate::resources::job::{Job, Phase};
use crate::trace::chain;
use api::v1;

/// What is asked, and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Resets {
    pub(super) meta: meta::Handle,
    pub(super) store: Store,
    pub(super) generations: generations::Handle,
}

/// What a request names.
pub(super) fn scope(scope: v1::ResetScope) -> Result<Scope, Error> {
    let (state, ephemeral) = match scope {
        v1::ResetScope::Unspecified => {
            return Err(Error::Invalid { field: "scope", why: "say what is to be wiped".into() });
        }
        v1::ResetScope::Ephemeral => (false, true),
        v1::ResetScope::State => (true, false),
        v1::ResetScope::All => (true, true),
    };
    Ok(Scope { state, ephemeral })
}

impl Resets {
    /// Whether it makes sense now. `force` goes over what is under way.
    pub(super) fn may(&self, force: bool) -> Result<(), Error> {
        match self.meta.state() {
            State::Attached { .. } => {}
            State::Absent(why) | State::Unusable(why) => return Err(Error::NoMeta(why)),
            State::Waiting | State::Read { .. } => return Err(Error::MetaLater),
        }
        let record = self.meta.record();
        if !record.configured && record.reset.is_none() {
            return Err(Error::NothingToReset);
        }
        if force {
            return Ok(());
        }
        let jobs = self.store.list::<Job>();
        if let Some(job) = jobs.into_iter().find(|job| job.value.phase == Phase::Running) {
            return Err(Error::ResetUnderJob {
                id: job.id,
                kind: job.value.kind.clone(),
                step: job.value.step.clone(),
            });
        }
        let view = self.generations.view();
        match view.state.as_ref().and_then(|state| state.trial()) {
            Some(trial) => Err(Error::ResetUnderTrial(trial.number)),
            None => Ok(()),
        }
    }

    /// Writes it down, for the next start.
    pub(super) async fn wish(&self, scope: Scope, off: bool, cause: &str) -> Result<(), Error> {
        let time_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let reset = Reset { scope, off, cause: cause.into(), boot: self.meta.boot_id().into(), time_unix };
        match self.meta.commit(move |record| record.wish(reset.clone())).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // A disk that hangs may yet write it.
                if matches!(error, meta::Error::Silent) {
                    self.take_back().await;
                }
                Err(Error::Meta(error))
            }
        }
    }

    /// The machine goes on.
    pub(super) async fn take_back(&self) {
        let boot = self.meta.boot_id().to_owned();
        let forget = move |record: &mut meta::Record| {
            record.reset = record.reset.take().filter(|reset| reset.boot != boot);
        };
        if let Err(error) = self.meta.commit(forget).await {
            tracing::error!(
                "META may hold a reset that nobody was promised, which the next start does: {}",
                chain(&error)
            );
        }
    }
}
