//! The audit log: every call to the API, chained by hashes, in a ring on STATE.
//!
//! Invariant: a change is durable before it is answered; reads are written every few seconds, equal ones as one record, and
//! what is too much, or fails, is counted. Before STATE is there records wait in memory, as many as [`WAITING`]; they are written when it
//! comes. One task writes, `log`, started by `boot`; `server` has the [`Handle`].

mod log;
mod ring;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::audit::{Head, Record, SIZE};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

pub use log::Log;
pub use ring::{Error, Ring};

use crate::{blocking, events::Events, state};

/// Different reads that are written at once; what is more is counted. At this rate the ring lasts for an hour of an attack,
/// and some weeks of use.
const READS: usize = 32;
/// Records that wait for STATE.
const WAITING: usize = 256;
/// For a change to be durable, or the ring to be opened: a disk that takes longer is not waited for, and that is said.
const DURABLE: Duration = Duration::from_secs(10);
/// Records that are read at once for a client.
const PAGE: usize = 64;

/// The method of a record that stands for calls nobody wrote down one by one.
pub const DROPPED: &str = "(dropped)";

/// A call, as far as it is the same for equal ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// See [`Record`].
    pub fingerprint: [u8; 32],
    /// See [`Record`].
    pub code: u32,
    /// See [`Record`].
    pub rescue: bool,
    /// See [`Record`].
    pub role: String,
    /// See [`Record`].
    pub subject: String,
    /// The client's address, without its port for reads.
    pub address: String,
    /// See [`Record`].
    pub method: String,
}

/// Some records with their numbers.
pub type Page = Vec<(u64, [u8; SIZE])>;

/// A request's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Their SHA-256.
    pub digest: [u8; 32],
    /// How many.
    pub bytes: u64,
}

/// What others have of it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    changes: mpsc::Sender<(Record, oneshot::Sender<()>)>,
    reads: Arc<Mutex<Reads>>,
    shown: watch::Receiver<Shown>,
}

/// Reads that wait for their turn.
#[derive(Debug, Default)]
struct Reads {
    calls: HashMap<Call, Record>,
    dropped: u32,
    /// Since machined started.
    all_dropped: u64,
}

impl Reads {
    /// Counts a record that is not going to be written; one of the counted ones is in the sum already.
    fn lost(&mut self, Lost { calls, counted }: Lost) {
        self.dropped = self.dropped.saturating_add(calls);
        if !counted {
            self.all_dropped += u64::from(calls);
        }
    }
}

/// What is counted of a record instead of writing it.
#[derive(Clone, Copy, Debug)]
struct Lost {
    calls: u32,
    /// It is itself a count.
    counted: bool,
}

impl From<&Record> for Lost {
    fn from(record: &Record) -> Self {
        Self { calls: record.calls, counted: record.method == DROPPED }
    }
}

/// Where the ring's file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// STATE is looked for, or the ring is searched for its head.
    #[default]
    Opening,
    /// There is no STATE.
    Nowhere,
    /// STATE is there, and the ring cannot be opened, for this reason; it is tried again.
    Failed(String),
    /// Here.
    At(PathBuf),
}

/// Where the log is, and how far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The ring's file.
    pub place: Place,
    /// The newest record.
    pub head: Head,
    /// The oldest that is kept; 0 in an empty log.
    pub oldest: u64,
}

/// A log that waits for STATE.
pub fn build(state: state::Handle, events: Events) -> (Handle, Log) {
    // Each waits for its answer, so there are as many as calls under way.
    let (sender, changes) = mpsc::channel(64);
    let (shown, watched) = watch::channel(Shown::default());
    let reads = Arc::<Mutex<Reads>>::default();
    let handle = Handle { changes: sender, reads: reads.clone(), shown: watched };
    (handle, Log { changes, reads, shown, state, events, ring: None, waiting: Vec::new(), trouble: String::new() })
}

impl Call {
    fn record(self, request: Request, change: bool) -> Record {
        let Self { fingerprint, code, rescue, role, subject, address, method } = self;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Record {
            time_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            calls: 1,
            digest: request.digest,
            request_bytes: request.bytes,
            change,
            code,
            fingerprint,
            rescue,
            role,
            subject,
            address,
            method,
            ..Record::default()
        }
    }
}

impl Handle {
    /// Writes a change; returns when it is durable, or waits for STATE.
    pub async fn change(&self, call: Call, request: Request) {
        self.durable(call, request, true).await;
    }

    /// As [`Handle::change`], for what need not be one.
    pub async fn durable(&self, call: Call, request: Request, change: bool) {
        let (done, written) = oneshot::channel();
        let method = call.method.clone();
        let mut queued = false;
        let sent = async {
            queued = self.changes.send((call.record(request, change), done)).await.is_ok();
            queued && written.await.is_ok()
        };
        if timeout(DURABLE, sent).await != Ok(true) {
            tracing::error!("{method} is answered before its audit record is durable: the disk does not answer");
        }
        if !queued {
            self.reads().lost(Lost { calls: 1, counted: false });
        }
    }

    /// Writes a change that nobody waits for any more: whoever asked has gone.
    pub fn left(&self, call: Call, request: Request) {
        let method = call.method.clone();
        if self.changes.try_send((call.record(request, true), oneshot::channel().0)).is_err() {
            tracing::error!("{method} has no audit record: too many wait for the disk");
            self.reads().lost(Lost { calls: 1, counted: false });
        }
    }

    /// Notes a read; it is written soon.
    pub fn read(&self, call: Call, request: Request) {
        let mut reads = self.reads();
        if let Some(record) = reads.calls.get_mut(&call) {
            record.calls = record.calls.saturating_add(1);
        } else if reads.calls.len() < READS {
            let record = call.clone().record(request, false);
            reads.calls.insert(call, record);
        } else {
            reads.lost(Lost { calls: 1, counted: false });
        }
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that were only counted, since machined started.
    pub fn dropped(&self) -> u64 {
        self.reads().all_dropped
    }

    /// How far the log is, now and later.
    pub fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.clone()
    }

    /// The ring's file and how far the log is; waits for a ring that is being opened.
    pub async fn opened(&self) -> Result<(PathBuf, Shown), Error> {
        let mut shown = self.shown();
        let opened = timeout(DURABLE, shown.wait_for(|shown| shown.place != Place::Opening)).await;
        let shown = opened.map_err(|_| Error::Opening)?.map_err(|_| Error::NoState)?.clone();
        match &shown.place {
            Place::At(path) => Ok((path.clone(), shown)),
            Place::Failed(why) => Err(Error::Failed(why.clone())),
            Place::Nowhere | Place::Opening => Err(Error::NoState),
        }
    }

    /// Records from this number on, some at a time, as they lie on the disk; those that cannot be read are left out, which the
    /// chain shows. Also the number to go on with; none when there is nothing newer.
    pub async fn page(&self, from: u64) -> Result<Option<(Page, u64)>, Error> {
        let (path, Shown { head, oldest, .. }) = self.opened().await?;
        let first = from.max(oldest).max(1);
        let last = head.sequence.min(first.saturating_add(PAGE as u64 - 1));
        if first > last {
            return Ok(None);
        }
        let records = blocking::run(move || ring::read(&path, first, last)).await?;
        Ok(Some((records, last + 1)))
    }
}

#[cfg(test)]
mod tests;
