//! Following a type: [`Changes`] for whoever rereads everything, [`RawWatch`] for whoever wants each change.
//!
//! Neither buffers: a watcher is a place in the history. One that falls behind it starts anew (`Reset`).

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Store;
use super::demand::WATCHED;
use super::entry::Entry;
use super::history::Kind;
use super::shelf::Shelf;
use crate::resource::RawObject;

/// Tells that something of a type has changed since the last time; any number of changes count as one.
#[derive(Clone, Debug)]
pub struct Changes {
    pub(super) seen: watch::Receiver<u64>,
}

impl Changes {
    /// Waits for a change after the last one seen. Cancel-safe. Never returns once the store is gone.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Counts everything until now as seen. Call it before reading, so that nothing is missed.
    pub fn mark_seen(&mut self) {
        self.seen.mark_unchanged();
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum RawChange {
    /// Everything starts anew: what is not put until `Synced` is no longer there.
    Reset,
    /// The object is there, or has changed.
    Put(RawObject),
    /// The object, as it last was, is gone.
    Deleted(RawObject),
    /// All that had happened when the watch started, or was reset, has been told.
    Synced,
}

/// One event of a watch.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEvent {
    /// What happened.
    pub change: RawChange,
    /// Give this to [`Store::watch_raw`] to go on after this event. None between `Reset` and `Synced`: whoever stops
    /// there has an incomplete picture.
    pub bookmark: Option<String>,
}

/// Every change of a type. Made by [`Store::watch_raw`].
#[derive(Debug)]
pub struct RawWatch {
    store: Store,
    name: &'static str,
    seen: watch::Receiver<u64>,
    state: State,
    /// When a type that is read on demand is read again.
    look: Option<Instant>,
}

/// ```text
/// bookmark known   --> Catching --> Following
/// otherwise        --> Lost --> Snapshot --Synced--> Following
/// Catching, Following --fell behind the history--> Lost
/// ```
#[derive(Debug)]
enum State {
    Lost,
    Snapshot {
        left: VecDeque<Arc<Entry>>,
        revision: u64,
    },
    /// `until` is where the type was when the watch began.
    Catching {
        cursor: u64,
        until: u64,
    },
    Following {
        cursor: u64,
    },
}

impl RawWatch {
    pub(super) fn new(store: Store, shelf: &Shelf, resume: Option<u64>, on_demand: bool) -> Self {
        let state = match resume {
            Some(cursor) if shelf.history.after(cursor).is_ok() => {
                State::Catching { cursor, until: shelf.history.newest() }
            }
            _ => State::Lost,
        };
        Self {
            store,
            name: shelf.info.name,
            seen: shelf.changed.subscribe(),
            state,
            look: on_demand.then(|| Instant::now() + WATCHED),
        }
    }

    /// The next event; waits for one. Cancel-safe: an event is lost only if it was returned.
    pub async fn next(&mut self) -> RawEvent {
        loop {
            if matches!(self.state, State::Lost) {
                self.store.told(self.name).await;
            }
            if let Some(event) = self.step() {
                return event;
            }
            match self.look {
                None => self.changed().await,
                Some(at) => {
                    if tokio::time::timeout_at(at, self.changed()).await.is_err() {
                        // What cannot be read now is read later; whoever gets or lists it is told why.
                        let _ = self.store.refresh(self.name).await;
                        self.look = Some(Instant::now() + WATCHED);
                    }
                }
            }
        }
    }

    async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // Cannot be: this watch keeps the store.
            std::future::pending::<()>().await;
        }
    }

    /// The next event if there is one now.
    pub(super) fn step(&mut self) -> Option<RawEvent> {
        match &mut self.state {
            State::Lost => {
                self.state = self.store.with(|registry| {
                    let shelf = registry.find(self.name)?;
                    let left = shelf.objects.values().cloned().collect();
                    Some(State::Snapshot { left, revision: shelf.history.newest() })
                })?;
                Some(RawEvent { change: RawChange::Reset, bookmark: None })
            }
            State::Snapshot { left, revision } => {
                let Some(entry) = left.pop_front() else {
                    let revision = *revision;
                    self.state = State::Following { cursor: revision };
                    return Some(self.event(RawChange::Synced, revision));
                };
                Some(RawEvent { change: RawChange::Put(entry.raw(self.name)), bookmark: None })
            }
            State::Catching { cursor, until } if *cursor >= *until => {
                let cursor = *cursor;
                self.state = State::Following { cursor };
                Some(self.event(RawChange::Synced, cursor))
            }
            State::Catching { cursor, .. } | State::Following { cursor } => {
                let found = self.store.with(|registry| {
                    let shelf = registry.find(self.name)?;
                    Some(shelf.history.after(*cursor).map(|change| change.cloned()))
                })?;
                let Ok(change) = found else {
                    self.state = State::Lost;
                    return self.step();
                };
                let change = change?;
                *cursor = change.revision;
                let object = change.entry.raw(self.name);
                let told = match change.kind {
                    Kind::Put => RawChange::Put(object),
                    Kind::Deleted => RawChange::Deleted(object),
                };
                Some(self.event(told, change.revision))
            }
        }
    }

    fn event(&self, change: RawChange, revision: u64) -> RawEvent {
        RawEvent { change, bookmark: Some(self.store.bookmark(revision)) }
    }
}
