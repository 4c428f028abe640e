//! The one writer of the audit log: opens the ring as soon as STATE is there, and writes what has come in batches.
//!
//! Invariant: whoever waits for a change is told when it is durable; what is not written is counted, and told in a record of its
//! own when the disk takes one again.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::audit::Record;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{Call, DROPPED, Lost, Place, Reads, Request, Ring, Shown, WAITING, ring};
use crate::{blocking, events::Events, state, trace::chain};

/// How often reads are written.
const EVERY: Duration = Duration::from_secs(5);

/// The one writer.
#[derive(Debug)]
pub struct Log {
    pub(super) changes: mpsc::Receiver<(Record, oneshot::Sender<()>)>,
    pub(super) reads: Arc<Mutex<Reads>>,
    pub(super) shown: watch::Sender<Shown>,
    pub(super) state: state::Handle,
    pub(super) events: Events,
    pub(super) ring: Option<Ring>,
    pub(super) waiting: Vec<Record>,
    /// What is wrong, as it was said last.
    pub(super) trouble: String,
}

impl Log {
    /// For ever.
    pub async fn run(mut self) {
        let mut state = self.state.watch();
        let mut turn = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
        loop {
            let found = state.borrow_and_update().clone();
            if self.ring.is_none() {
                match found {
                    state::State::Mounted { root } => self.open(root.join("audit")).await,
                    state::State::None(_) | state::State::Unusable(_) => self.is_at(Place::Nowhere),
                    state::State::Waiting => self.is_at(Place::Opening),
                }
            }
            tokio::select! {
                Some(first) = self.changes.recv() => self.changed(first).await,
                _ = turn.tick() => self.flush().await,
                Ok(()) = state.changed() => {}
            }
        }
    }

    async fn open(&mut self, path: PathBuf) {
        if !matches!(self.shown.borrow().place, Place::Failed(_)) {
            self.is_at(Place::Opening);
        }
        match blocking::run(move || Ring::open(&path)).await {
            Ok((ring, lost)) => {
                if lost > 0 {
                    self.events.warn(
                        "audit",
                        format!("{lost} audit records that were being written when power was cut are lost"),
                    );
                }
                self.ring = Some(ring);
                let waiting = std::mem::take(&mut self.waiting);
                self.write(waiting).await;
            }
            // Tried again at the next turn.
            Err(error) => {
                let why = chain(&error).to_string();
                self.trouble(Some(format!("the audit log cannot be opened: {why}")));
                self.is_at(Place::Failed(why));
            }
        }
    }

    fn is_at(&self, place: Place) {
        self.shown.send_if_modified(|shown| std::mem::replace(&mut shown.place, place.clone()) != place);
    }

    /// Says what is wrong, once.
    fn trouble(&mut self, why: Option<String>) {
        let why = why.unwrap_or_default();
        if why != self.trouble && !why.is_empty() {
            self.events.error("audit", why.as_str());
        }
        self.trouble = why;
    }

    /// As many as have come, with one wait for the disk.
    async fn changed(&mut self, first: (Record, oneshot::Sender<()>)) {
        let mut all = vec![first];
        while all.len() < ring::BATCH
            && let Ok(next) = self.changes.try_recv()
        {
            all.push(next);
        }
        let (records, done): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        if self.write(records).await {
            for done in done {
                // Who asked may have gone.
                let _ = done.send(());
            }
        }
    }

    pub(super) async fn flush(&mut self) {
        let (calls, dropped) = {
            let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
            // Where nothing is written a count would take the place of a call.
            let dropped = if self.ring.is_some() { std::mem::take(&mut reads.dropped) } else { 0 };
            (std::mem::take(&mut reads.calls), dropped)
        };
        let mut records: Vec<_> = calls.into_values().collect();
        records.sort_by_key(|record| record.time_unix_ms);
        if dropped > 0 {
            let call = Call {
                fingerprint: [0; 32],
                code: 0,
                rescue: false,
                role: String::new(),
                subject: String::new(),
                address: String::new(),
                method: DROPPED.into(),
            };
            records.push(Record { calls: dropped, ..call.record(Request::default(), false) });
        }
        if !records.is_empty() {
            self.write(records).await;
        }
    }

    /// Whether they are durable, or wait where nothing is durable.
    pub(super) async fn write(&mut self, records: Vec<Record>) -> bool {
        let Some(mut ring) = self.ring.take() else {
            self.waiting.extend(records);
            let over = self.waiting.len().saturating_sub(WAITING);
            let lost: Vec<Lost> = self.waiting.drain(..over).map(|record| Lost::from(&record)).collect();
            self.lost(&lost);
            return true;
        };
        let all: Vec<Lost> = records.iter().map(Lost::from).collect();
        let before = ring.shown().head.sequence;
        let (ring, written) = blocking::run(move || {
            let written = ring.append(records);
            (ring, written)
        })
        .await;
        let shown = ring.shown();
        let durable = usize::try_from(shown.head.sequence.saturating_sub(before)).unwrap_or(all.len());
        self.lost(all.get(durable..).unwrap_or_default());
        self.shown.send_replace(shown);
        self.ring = Some(ring);
        self.trouble(written.as_ref().err().map(|error| format!("calls are not in the audit log: {}", chain(error))));
        written.is_ok()
    }

    fn lost(&self, lost: &[Lost]) {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        lost.iter().for_each(|one| reads.lost(*one));
    }
}
