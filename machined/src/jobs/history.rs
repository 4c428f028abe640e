//! Where jobs are kept: the last one in META, which knows them before STATE is there; all in /run, for the next machined; those
//! that are over on STATE.
//!
//! Invariant: META decides. A job that cannot be written there does not begin, unless there is no META at all; /run and STATE
//! are for those who look.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::error::Error;
use super::record::Kept;
use crate::{blocking, file, meta, state};

/// The file on STATE and in /run.
const FILE: &str = "jobs.json";
/// For a disk that hangs: then the history is written another time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps them; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Keeper(Arc<Places>);

#[derive(Debug)]
struct Places {
    kept: Mutex<Kept>,
    meta: meta::Handle,
    state: state::Handle,
    run: PathBuf,
}

impl Keeper {
    /// With what an earlier machined of this boot left.
    pub(super) fn new(meta: meta::Handle, state: state::Handle, run: PathBuf) -> Self {
        let file = run.join(FILE);
        let before = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let kept = before.map(|value| Kept::read(&value)).unwrap_or_default();
        Self(Arc::new(Places { kept: kept.into(), meta, state, run: file }))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        // A change that panicked left a list that can still be written.
        look(&mut self.0.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All that are known.
    pub(super) fn kept(&self) -> Kept {
        self.with(|kept| kept.clone())
    }

    /// Takes in what META says.
    pub(super) fn read_meta(&self) {
        if let Some(jobs) = self.0.meta.record().jobs {
            self.with(|kept| kept.merge(Kept::read(&jobs)));
        }
    }

    /// Changes what is kept, and writes it to META before it returns.
    pub(super) async fn save(&self, change: impl FnOnce(&mut Kept)) -> Result<(), Error> {
        let (all, last) = self.with(|kept| {
            change(kept);
            (kept.value(), kept.for_meta().value())
        });
        // Memory; who reads it is the next machined of this boot.
        if let Err(error) = file::replace(&self.0.run, all.to_string().as_bytes(), 0o600) {
            tracing::warn!("cannot keep jobs in {}: {error}", self.0.run.display());
        }
        self.0.meta.update(|record| record.jobs = Some(last)).await?;
        Ok(())
    }

    /// Takes in what STATE has, and writes there what it lacks. Without STATE nothing is done.
    pub(super) async fn keep_history(&self) {
        let state::State::Mounted { root } = self.0.state.state() else { return };
        let path = root.join(FILE);
        let keeper = self.clone();
        let work = blocking::run(move || {
            let text = fs::read(&path).unwrap_or_default();
            let there = serde_json::from_slice(&text).map(|value| Kept::read(&value)).unwrap_or_default();
            let wanted = keeper.with(|kept| {
                kept.merge(there.clone());
                kept.for_state()
            });
            if wanted == there { Ok(()) } else { file::keep(&path, wanted.value().to_string().as_bytes(), 0o600) }
        });
        match timeout(PATIENCE, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the history of jobs cannot be kept on STATE: {error}"),
            Err(_) => tracing::warn!("the history of jobs is not kept: STATE does not answer"),
        }
    }
}
