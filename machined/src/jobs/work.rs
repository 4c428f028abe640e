//! What a kind of job does, and what its steps are given.
//!
//! Invariant: a step is written down before it begins; nothing passes the point of no return once somebody has cancelled.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reconcile::Writer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::error::Error;
use super::history::Keeper;
use super::record::{Kept, Record, Request};
use crate::clock;
use crate::events::Events;
use crate::resources::job::Job as Shown;
use crate::resources::job::Phase;

/// How often bytes are shown: each time every watch hears of it.
const SHOW: Duration = Duration::from_millis(500);

/// What one kind of job does.
pub trait Work: Send + Sync + 'static {
    /// Does it, from the first step: what earlier starts left is found and used. Returns what came of it, in words. Dropped when
    /// it is cancelled, or the machine stops: what it started must end then.
    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<String, Failed>>;

    /// Removes what a job that is over leaves behind. What came of it, the job says.
    fn tidy<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, ()>;

    /// What must be sure before it is written down that the job is done: from then on no machined goes on with it.
    fn before<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    /// What follows once it is written down that the job is done, and those who watch were told.
    fn after<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// [`Phase::Refused`], [`Phase::Failed`] or [`Phase::Returned`].
    pub phase: Phase,
    /// Why: one sentence, without a period.
    pub reason: String,
    /// What to do; may be empty.
    pub remedy: String,
}

impl Failed {
    /// Something did not work.
    pub fn because(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { phase: Phase::Failed, reason: reason.into(), remedy: remedy.into() }
    }

    /// A check said no.
    pub fn refused(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { phase: Phase::Refused, reason: reason.into(), remedy: remedy.into() }
    }

    /// The new version was not proven.
    pub fn returned(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { phase: Phase::Returned, reason: reason.into(), remedy: remedy.into() }
    }
}

/// The job that runs, for its work and the engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Job(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    now: Mutex<Now>,
    keeper: Keeper,
    writer: Writer<Shown>,
    events: Events,
}

#[derive(Debug)]
struct Now {
    record: Record,
    bytes: (u64, u64),
    shown: Instant,
    /// Its work is dropped as soon as it waits.
    cancelled: bool,
}

impl Job {
    pub(super) fn new(record: Record, keeper: Keeper, writer: Writer<Shown>, events: Events) -> Self {
        let now = Now { record, bytes: (0, 0), shown: Instant::now(), cancelled: false };
        let job = Self(Arc::new(Shared { now: now.into(), keeper, writer, events }));
        job.with(|now| job.show(now));
        job
    }

    /// For tests: an upgrade that no engine runs.
    #[cfg(test)]
    pub(crate) fn alone(store: &reconcile::Store, meta: crate::meta::Handle, run: &std::path::Path) -> Self {
        let wanted =
            super::record::Upgrade { image: "r.example/a:1".into(), allow_downgrade: false, retry_failed: false };
        let events = Events::open(&reconcile::Store::new(), run.join("job-events")).unwrap();
        let keeper = Keeper::new(meta, crate::state::Handle::new(), run.to_owned());
        let writer = store.writer::<Shown>("jobs").unwrap();
        Self::new(Record::new(1, Request::Upgrade(wanted), "alice", 0), keeper, writer, events)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Now) -> T) -> T {
        // A change that panicked left a record that can still be written.
        look(&mut self.0.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn show(&self, now: &mut Now) {
        now.shown = Instant::now();
        self.0.writer.put(now.record.id.to_string(), now.record.shown(now.bytes));
    }

    /// As it is now.
    pub fn record(&self) -> Record {
        self.with(|now| now.record.clone())
    }

    /// What was asked for.
    pub fn request(&self) -> Request {
        self.with(|now| now.record.request.clone())
    }

    /// Who asked.
    pub fn by(&self) -> String {
        self.with(|now| now.record.by.clone())
    }

    /// Begins a step.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn step(&self, name: &str) -> Result<(), Failed> {
        let changed = self.with(|now| {
            let changed = now.record.begin(name, clock::now_unix_ms());
            if changed {
                now.bytes = (0, 0);
                self.show(now);
            }
            changed
        });
        if !changed {
            return Ok(());
        }
        let Record { id, request, .. } = self.record();
        self.0.events.info("jobs", format!("job {id} ({}): {name}", request.kind()));
        self.save().await.map_err(unsaved)
    }

    /// Shows a part of the step, which is not written down.
    pub fn at(&self, part: &str) {
        self.with(|now| {
            if now.record.begin(part, clock::now_unix_ms()) {
                now.bytes = (0, 0);
                self.show(now);
            }
        });
    }

    /// How many bytes of the step are done, and how many there are.
    pub fn bytes(&self, done: u64, total: u64) {
        self.with(|now| {
            now.bytes = (done, total);
            let step = now.record.step.clone();
            now.record.moved(&step, done);
            if now.shown.elapsed() >= SHOW || done == total {
                self.show(now);
            }
        });
    }

    /// So many bytes were moved in a step that is over, whatever it showed.
    pub fn moved(&self, step: &str, bytes: u64) {
        self.with(|now| now.record.moved(step, bytes));
    }

    /// Something is not as it should be, and no reason to stop.
    pub fn warn(&self, what: &str) {
        let id = self.with(|now| {
            now.record.warn(what);
            self.show(now);
            now.record.id
        });
        self.0.events.warn("jobs", format!("job {id}: {what}"));
    }

    /// By which certificate the machine's API will be known after the reboot; kept with whatever is written down next.
    pub fn promise(&self, fingerprint: &str) {
        self.with(|now| {
            now.record.fingerprint = fingerprint.to_owned();
            self.show(now);
        });
    }

    /// What a step before this one left, also before a reboot.
    pub fn left<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let left = self.with(|now| now.record.left.get(name).cloned())?;
        serde_json::from_value(left).ok()
    }

    /// Leaves something small for the steps after this one; it survives a reboot.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn leave<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Failed> {
        let value = serde_json::to_value(value).unwrap_or_default();
        if !self.with(|now| now.record.leave(name, value)) {
            return Err(Failed::because(format!("what the step leaves as {name} is too long to be kept"), ""));
        }
        self.save().await.map_err(unsaved)
    }

    /// From here on nobody can call it off. Does not return when somebody has.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn commit(&self) -> Result<(), Failed> {
        let cancelled = self.with(|now| {
            now.record.committed |= !now.cancelled;
            self.show(now);
            now.cancelled
        });
        if cancelled {
            return pending().await;
        }
        self.save().await.map_err(unsaved)
    }

    /// It begins anew, and nobody has to wait for it: whatever it did before its point of no return is not gone on with.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn reopen(&self) -> Result<(), Failed> {
        let committed = self.with(|now| {
            let committed = std::mem::take(&mut now.record.committed);
            self.show(now);
            committed
        });
        if committed { self.save().await.map_err(unsaved) } else { Ok(()) }
    }

    /// Calls it off, unless it is too late.
    pub(super) fn cancel(&self) -> bool {
        self.with(|now| {
            now.cancelled |= !now.record.committed;
            now.cancelled
        })
    }

    /// It begins, once more or for the first time; says how often it has.
    pub(super) fn begin(&self) -> u32 {
        self.with(|now| {
            now.record.starts += 1;
            self.show(now);
            now.record.starts
        })
    }

    /// It is over.
    pub(super) fn end(&self, phase: Phase, reason: &str, remedy: &str) {
        self.with(|now| {
            now.record.end(phase, reason, remedy, clock::now_unix_ms());
            self.show(now);
        });
    }

    /// Writes it down as it is.
    pub(super) async fn save(&self) -> Result<(), Error> {
        let record = self.record();
        self.0.keeper.save(|kept: &mut Kept| kept.put(record)).await
    }
}

fn unsaved(error: Error) -> Failed {
    Failed::because(crate::trace::chain(&error), "apictl get conditions; the system disk may be failing")
}
