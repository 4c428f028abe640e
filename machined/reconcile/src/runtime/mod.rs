//! The runtime: checks the controllers against one another, then runs each in a task of its own until told to stop.
//!
//! Invariant: no controller starts unless every type has one owner, or sharers only. Built by machined's boot and run
//! by its main task.

mod backoff;
mod log;
mod pace;
mod run;
mod status;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::run::Loop;
pub use self::status::{ControllerStatus, State, Status};
use crate::controller::Controller;
use crate::graph::Graph;
use crate::ports::Ports;
use crate::store::{ClaimError, NameClash, Store};

/// How long cycles may take to finish after the stop: long enough for a kernel call that waits, short enough that an
/// operator who reboots a machine does not wonder.
const GRACE: Duration = Duration::from_secs(5);

/// One reason why the controllers cannot run together: a bug, found before anything starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Two writers where there may be one.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// One name for two types.
    #[error(transparent)]
    Name(#[from] NameClash),
    /// One name for two controllers.
    #[error("two controllers are named {0}: rename one, or register it once")]
    Twice(&'static str),
}

/// All reasons at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the controllers cannot run together: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Problems(pub Vec<Problem>);

/// How the runtime ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Stopped {
    /// Controllers whose last cycle did not finish in time and was dropped where it stood.
    pub cut: Vec<&'static str>,
}

type Launch = Box<dyn FnOnce(watch::Receiver<bool>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The controllers of one store, not yet running.
pub struct Runtime {
    store: Store,
    graph: Graph,
    status: Status,
    problems: Vec<Problem>,
    launches: Vec<Launch>,
    grace: Duration,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("graph", &self.graph).field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime without controllers.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            graph: Graph::new(),
            status: Status::default(),
            problems: Vec::new(),
            launches: Vec::new(),
            grace: GRACE,
        }
    }

    /// How long cycles may take to finish after the stop, in place of five seconds.
    pub fn grace(&mut self, grace: Duration) -> &mut Self {
        self.grace = grace;
        self
    }

    /// Adds a controller; its types are known to the store, and claimed, from here on.
    pub fn register<C: Controller>(&mut self, controller: C) -> &mut Self {
        if self.graph.controllers().any(|node| node.name == C::NAME) {
            self.problems.push(Problem::Twice(C::NAME));
            return self;
        }
        let mut ports = Ports::default();
        C::declare(&mut ports);
        let claims = ports.all().filter_map(|port| (port.claim)(&self.store, C::NAME).err());
        self.problems.extend(claims.map(Problem::Claim));
        ports.outputs().for_each(|port| self.store.expect(port.type_name, C::NAME));
        self.graph.add::<C>();
        self.status.add(C::NAME);
        let (store, status) = (self.store.clone(), self.status.clone());
        self.launches.push(Box::new(move |stop| Box::pin(Loop { controller, store, ports, status, stop }.run())));
        self
    }

    /// Who reads and writes what: the controllers, and the store's writers so far.
    #[must_use]
    pub fn graph(&self) -> Graph {
        let mut graph = self.graph.clone();
        for (type_name, writer, claim) in self.store.claimants() {
            graph.add_writer(type_name, writer, claim);
        }
        graph
    }

    /// The handle by which others see how the controllers are doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Whether the controllers can run together.
    ///
    /// # Errors
    /// All the reasons why they cannot.
    pub fn check(&self) -> Result<(), Problems> {
        let names = self.store.clashes().into_iter().map(Problem::Name);
        let problems: Vec<_> = self.problems.iter().cloned().chain(names).collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    /// Runs the controllers until `shutdown` ends; then lets each finish its cycle, for the grace at most. Outputs stay.
    /// Dropping the returned future ends every controller where it stands.
    ///
    /// # Errors
    /// When the controllers cannot run together; then none has started.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Stopped, Problems> {
        self.check()?;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for launch in self.launches {
            tasks.spawn(launch(stopping.clone()));
        }
        shutdown.await;
        stop.send_replace(true);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.grace, all).await.is_err() {
            // Bounded too: a cycle that blocks its thread cannot be dropped.
            let _ = tokio::time::timeout(self.grace, tasks.shutdown()).await;
        }
        let unfinished = self.status.controllers().into_iter().filter(|status| status.state != State::Stopped);
        Ok(Stopped { cut: unfinished.map(|status| status.name).collect() })
    }
}
