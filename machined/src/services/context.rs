//! What all units share: handles, and how a service's state is told to the rest of the machine.

use std::collections::BTreeMap;
use std::path::Path;

use config::service::Service as Declared;
use reconcile::{Changes, SharedWriter, Store, Writer};
use tokio::sync::watch;

use super::plan::Decision;
use super::{Error, Paths};
use crate::events::Events;
use crate::link::Link;
use crate::logs::Logs;
use crate::resources::condition::Condition;
use crate::resources::service::{Service, State};
use crate::resources::wait::{For, Wait};
use crate::uptime;

/// The condition that `needs: [network]` waits for.
const NETWORK: &str = Condition::NETWORK;

/// What a supervisor is given.
#[derive(Debug)]
pub struct Context {
    pub(super) paths: Paths,
    pub(super) link: Link,
    pub(super) logs: Logs,
    pub(super) events: Events,
    pub(super) writer: Writer<Service>,
    store: Store,
    waits: SharedWriter<Wait>,
    conditions: SharedWriter<Condition>,
    states: watch::Sender<BTreeMap<String, Standing>>,
}

/// What dependants know of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    state: State,
    /// It waits for the network and nothing else, itself or through what it needs: that is no fault of the machine's.
    offline: bool,
}

/// Wakes a unit when something it may need has changed.
#[derive(Debug)]
pub(super) struct NeedsChanges {
    states: watch::Receiver<BTreeMap<String, Standing>>,
    conditions: Changes,
}

impl NeedsChanges {
    /// Cancel-safe.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            changed = self.states.changed() => if changed.is_err() { std::future::pending().await },
            () = self.conditions.changed() => {}
        }
    }
}

impl Context {
    /// Claims the types it writes.
    pub fn new(paths: Paths, store: Store, link: Link, logs: Logs, events: Events) -> Result<Self, Error> {
        Ok(Self {
            paths,
            link,
            logs,
            events,
            writer: store.writer("services")?,
            waits: store.shared_writer("services")?,
            conditions: store.shared_writer("services")?,
            states: watch::Sender::default(),
            store,
        })
    }

    pub(super) fn needs_changes(&self) -> NeedsChanges {
        NeedsChanges { states: self.states.subscribe(), conditions: self.store.watch::<Condition>() }
    }

    /// What of these is not there, in one sentence; none when all are.
    pub(super) fn unmet(&self, needs: &[String]) -> Option<String> {
        let lacks = |need: &&String| match need.strip_prefix("path:") {
            Some(path) => !Path::new(path).exists(),
            None if need.as_str() == NETWORK => {
                !self.store.get::<Condition>(NETWORK).is_some_and(|condition| condition.value.met)
            }
            None => self.states.borrow().get(need.as_str()).is_none_or(|known| known.state != State::Ready),
        };
        let say = |need: &String| {
            let why = if need != NETWORK && self.is_offline(need) { " (waits for the network)" } else { "" };
            format!("{need}{why}")
        };
        let missing: Vec<_> = needs.iter().filter(lacks).map(say).collect();
        (!missing.is_empty()).then(|| format!("needs {}", missing.join(", ")))
    }

    fn is_offline(&self, need: &str) -> bool {
        need == NETWORK || self.states.borrow().get(need).is_some_and(|known| known.offline)
    }

    /// Tells everybody how a service does, when that changed: dependants, the machine's conditions, the list of waits. A
    /// machine without a network comes up all the same, so what only waits for it holds nothing up.
    pub(super) fn announce(&self, declared: &Declared, decision: &Decision) {
        let service = &declared.name;
        let missing = |need: &&String| self.unmet(std::slice::from_ref(*need)).is_some();
        let offline =
            decision.state == State::Waiting && declared.needs.iter().filter(missing).all(|need| self.is_offline(need));
        let standing = Standing { state: decision.state, offline };
        self.states.send_if_modified(|states| states.insert(service.clone(), standing) != Some(standing));
        let id = format!("service-{service}");
        let condition = match decision.state {
            State::Ready | State::Stopped => Condition::met(format!("{service} is as it should be")),
            _ => Condition::unmet(format!("service {service}: {}", decision.why)),
        };
        let condition = if offline { condition.optional() } else { condition };
        let waits = matches!(decision.state, State::Waiting | State::Starting);
        let limit = decision.wake.map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
        let wait = For::Service(service, limit).wait(&decision.why, uptime::now_ms());
        let waited = if waits { self.waits.put(&id, wait) } else { self.waits.remove(&id) };
        for result in [waited, self.conditions.put(&id, condition)] {
            if let Err(error) = result {
                tracing::error!("service {service}: {error}");
            }
        }
    }

    /// A service that cannot be looked after at all.
    pub(super) fn broken(&self, name: &str, why: &str) {
        self.events.error("services", why);
        if let Err(error) = self.conditions.put(format!("service-{name}"), Condition::unmet(why)) {
            tracing::error!("service {name}: {error}");
        }
    }
}
