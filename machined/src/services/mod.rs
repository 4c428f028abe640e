//! Services: declarations from the image, and the supervisor that keeps them running. `boot` builds it, `shutdown` stops
//! it, the API asks it for restarts.
//!
//! Each service is a task (`unit`) around a pure decision (`plan`). What the next machined needs of it is with init
//! (process, sockets, pipes) and in one small record (`record`), so that no service is restarted because machined was.

mod adopt;
mod context;
mod declared;
mod first;
mod order;
mod plan;
mod ready;
mod record;
mod sockets;
mod spawn;
#[cfg(test)]
mod tests;
mod unit;

use std::collections::BTreeMap;
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::service::Service;
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub use context::Context;
use unit::{Command, Unit};

use crate::link::{self, Kept};
use crate::trace::chain;
use crate::{logs, stop};

/// Where things are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Declarations, one file each: `/usr/lib/stele/services`.
    pub declarations: PathBuf,
    /// Records: `/run/stele/services`.
    pub run: PathBuf,
    /// Their cgroups' parent: `/sys/fs/cgroup/services`.
    pub cgroups: PathBuf,
}

/// Why a service could not be adopted, started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such service.
    #[error("there is no service {name:?}; there are: {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The supervisor has ended.
    #[error("the supervisor has ended")]
    Ended,
    /// Its cgroup.
    #[error("cannot set up its cgroup")]
    Cgroup(#[source] io::Error),
    /// Its process.
    #[error("cannot watch its process")]
    Process(#[source] io::Error),
    /// Its program.
    #[error(transparent)]
    Spawn(#[from] sys::process::Error),
    /// Its capabilities.
    #[error("there is no capability {0}")]
    Capability(String),
    /// Its sockets and pipes.
    #[error(transparent)]
    Descriptor(#[from] sockets::Error),
    /// init.
    #[error(transparent)]
    Link(#[from] link::Error),
    /// Its log.
    #[error(transparent)]
    Log(#[from] logs::Error),
    /// What is known of it.
    #[error("cannot read its record")]
    Record(#[source] io::Error),
    /// The declarations.
    #[error("cannot read the declarations")]
    Declarations(#[source] io::Error),
    /// It may run, and cannot be taken over.
    #[error("cannot take over the service {name}")]
    Adopt {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// The store.
    #[error(transparent)]
    Claim(#[from] reconcile::ClaimError),
    /// Its folder in /run.
    #[error("cannot make {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Asks the supervisor; cheap to clone. What services there are and how they do is in the store, type "service".
#[derive(Clone, Debug, Default)]
pub struct Handle {
    units: Arc<BTreeMap<String, (Service, mpsc::Sender<Command>)>>,
}

/// The supervisor: the units, to be run.
#[derive(Debug)]
pub struct Supervisor {
    units: Vec<(Unit, mpsc::Receiver<Command>)>,
}

/// Reads the declarations and takes over what runs; starts nothing yet. A bad declaration, or a service that never ran and
/// cannot (its address is taken), is an event and an unmet condition, and the others run. One that runs is taken over, or
/// there is no supervisor: init starts machined again, which does better once the cause has passed. What is left in `kept`
/// belongs to no declared service.
pub async fn build(context: Context, kept: &mut Kept) -> Result<(Handle, Supervisor), Error> {
    let folder = |path: &PathBuf, source| Error::Folder { path: path.clone(), source };
    std::fs::create_dir_all(&context.paths.run).map_err(|e| folder(&context.paths.run, e))?;
    let context = Arc::new(context);
    let (mut handles, mut units) = (BTreeMap::new(), Vec::new());
    for service in declared::load(&context)? {
        let (send, receive) = mpsc::channel(8);
        let name = service.name.clone();
        match Unit::adopt(context.clone(), service, kept).await {
            Ok(unit) => {
                handles.insert(name, (unit.service.clone(), send));
                units.push((unit, receive));
            }
            Err(source) if is_short(&source) || may_run(&context.paths, &name) => {
                return Err(Error::Adopt { name, source: Box::new(source) });
            }
            Err(error) => {
                kept.leave(&name);
                context.broken(&name, &chain(&error));
            }
        }
    }
    Ok((Handle { units: Arc::new(handles) }, Supervisor { units }))
}

/// Whether an earlier machined left a process of this service; a record that cannot be read says nothing to the contrary.
fn may_run(paths: &Paths, name: &str) -> bool {
    record::load(&paths.run, name).map_or(true, |record| record.is_some_and(|record| record.running))
}

/// Whether memory or descriptors were wanting: that passes.
fn is_short(error: &Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let mut errors = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).filter_map(Errno::from_io_error);
    errors.any(|errno| matches!(errno, Errno::NOMEM | Errno::NOBUFS | Errno::MFILE | Errno::NFILE | Errno::TOOMANYREFS))
}

impl Supervisor {
    /// Keeps the services as they should be, until every handle is gone.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        for (unit, commands) in self.units {
            tasks.spawn(unit.run(commands));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                // A service without supervisor: machined ends, and the next one adopts all of them.
                resume_unwind(panic);
            }
        }
    }
}

impl Handle {
    /// The names of all services, in order.
    pub fn names(&self) -> Vec<String> {
        self.units.keys().cloned().collect()
    }

    /// Stops a service if it runs and starts it; answers when the old process is gone.
    pub async fn restart(&self, name: &str) -> Result<(), Error> {
        self.ask(name, Command::Restart).await
    }

    /// Stops a service for good; answers when it is gone.
    pub async fn stop(&self, name: &str) -> Result<(), Error> {
        self.ask(name, Command::Stop).await
    }

    /// Stops all services but one, who needs others first; each round has its deadline, then the next one begins. Services
    /// that could not be stopped are returned: init kills what is left.
    pub async fn stop_all(&self, stop: &stop::Handle, but: &str) -> Vec<String> {
        let mut left = Vec::new();
        let services = self.units.values().map(|(service, _)| service).filter(|service| service.name != but);
        for round in order::stop(services) {
            stop.step(format!("stopping {}", round.join(", ")));
            let within = round.iter().filter_map(|n| self.units.get(n)).map(|(s, _)| s.stop.within.0).max();
            // Asked, then killed, then given a moment to be seen as gone.
            let deadline = tokio::time::Instant::now() + within.unwrap_or_default() + Duration::from_secs(5);
            let mut asked = JoinSet::new();
            for name in round {
                let handle = self.clone();
                asked.spawn(async move {
                    let done = tokio::time::timeout_at(deadline, handle.stop(&name)).await;
                    (name, matches!(done, Ok(Ok(()))))
                });
            }
            while let Some(result) = asked.join_next().await {
                left.extend(result.ok().filter(|(_, done)| !done).map(|(name, _)| name));
            }
        }
        left
    }

    async fn ask(&self, name: &str, command: impl FnOnce(oneshot::Sender<()>) -> Command) -> Result<(), Error> {
        let unknown = || Error::Unknown { name: name.to_owned(), known: self.names() };
        let (_, unit) = self.units.get(name).ok_or_else(unknown)?;
        let (send, done) = oneshot::channel();
        unit.send(command(send)).await.map_err(|_| Error::Ended)?;
        done.await.map_err(|_| Error::Ended)
    }
}
