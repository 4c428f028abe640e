//! Which types are complete. A new process begins with an empty store, and until its controllers have looked, "there is none"
//! would be a lie: whoever follows a type over a restart would hear of deletions that never happened.
//!
//! Invariant: a type is told once each controller that writes it has finished a cycle, or [`PATIENCE`] after they were
//! registered; it stays told. Producers that are no controllers tell as they write. The runtime says who told; the API
//! server and watches wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Store;

/// For the first cycles: they take milliseconds, but one that fails, hangs or waits for input must not hide what others
/// wrote.
const PATIENCE: Duration = Duration::from_secs(8);

/// The types that controllers write.
#[derive(Default)]
pub(super) struct Told(Mutex<BTreeMap<&'static str, Waiting>>);

struct Waiting {
    until: Instant,
    /// Who has not finished a cycle.
    owners: watch::Sender<BTreeSet<&'static str>>,
}

impl Told {
    fn with<T>(&self, name: &str, act: impl FnOnce(&Waiting) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(act)
    }
}

impl Store {
    /// `owner` is a controller that will write this type.
    pub(crate) fn expect(&self, type_name: &'static str, owner: &'static str) {
        let mut told = self.shared.told.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Waiting { until: Instant::now() + PATIENCE, owners: watch::Sender::default() };
        told.entry(type_name).or_insert_with(new).owners.send_modify(|owners| {
            owners.insert(owner);
        });
    }

    /// `owner` has finished a cycle: what it has of this type is in the store.
    pub(crate) fn tells(&self, type_name: &str, owner: &str) {
        self.shared.told.with(type_name, |waiting| waiting.owners.send_if_modified(|owners| owners.remove(owner)));
    }

    /// Waits until the type (by any of its names) is complete. Cancel-safe.
    pub async fn told(&self, name: &str) {
        let Some(info) = self.resolve(name) else { return };
        let waiting = self.shared.told.with(info.name, |waiting| (waiting.until, waiting.owners.subscribe()));
        let Some((until, mut owners)) = waiting else { return };
        // A sender that is gone went with the store.
        if timeout_at(until, owners.wait_for(BTreeSet::is_empty)).await.is_err() {
            let late = self.shared.told.with(info.name, |waiting| waiting.owners.send_replace(BTreeSet::new()));
            // Said by the first who waited.
            for owner in late.unwrap_or_default() {
                let (plural, within) = (info.plural, PATIENCE.as_secs());
                tracing::warn!("{plural} are shown without {owner}, which has not finished a cycle within {within} s");
            }
        }
    }
}
