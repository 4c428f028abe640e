//! The one task that owns machined's end of the link to init, and the clonable handle everybody else uses.
//!
//! Invariant: answers come in the order of the questions, so one queue of waiters is enough. A link that breaks means that
//! init is not init any more: machined ends and is started again.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sys::Pid;
use sys::link::{Action, Client, Event, ExitStatus, Kind, Name, Refusal, Request, Standing};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::stop;

/// init reads at once; when its queue is full it is about to be empty.
const RETRY: Duration = Duration::from_millis(10);

/// Why init did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The link is broken; machined is about to end.
    #[error("the link to init is closed")]
    Closed,
    /// init's table is full, or the request made no sense.
    #[error("init refused to keep the descriptor {name}: {}", match why { Refusal::Full => "its table is full", Refusal::NoDescriptor => "there was none" })]
    Refused {
        /// Which.
        name: Name,
        /// Why.
        why: Refusal,
    },
    /// No name that can be sent.
    #[error("no name for a descriptor")]
    Name(#[from] sys::link::NameError),
    /// The socket.
    #[error("the link to init")]
    Io(#[from] io::Error),
}

/// A descriptor that init kept.
#[derive(Debug)]
pub struct Entry {
    /// Under which name.
    pub name: Name,
    /// What init may do with it.
    pub kind: Kind,
    /// Bytes init drained from it and threw away.
    pub dropped: u64,
    /// A duplicate of it.
    pub descriptor: OwnedFd,
}

/// Everything init kept, and how machined has fared in this boot.
#[derive(Debug, Default)]
pub struct Kept {
    /// The descriptors.
    pub entries: Vec<Entry>,
    /// The how-manieth machined of this boot this is, from 1.
    pub generation: u32,
    /// How the one before ended.
    pub last: Option<ExitStatus>,
    /// It was killed because its heartbeat stopped.
    pub hung: bool,
}

impl Kept {
    /// Takes out the entry of this name.
    pub fn take(&mut self, name: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|e| e.name.as_str() == name)?;
        Some(self.entries.swap_remove(at))
    }

    /// Lets go of what is kept for a service; init keeps it.
    pub fn leave(&mut self, service: &str) {
        self.entries.retain(|entry| entry.name.as_str().split(':').nth(1) != Some(service));
    }
}

/// Asks init; cheap to clone.
#[derive(Clone, Debug)]
pub struct Link {
    asks: mpsc::Sender<Ask>,
    client: Arc<Client>,
    ended: Arc<Ended>,
}

/// Exit statuses that init collected in our place.
#[derive(Debug, Default)]
struct Ended {
    statuses: Mutex<HashMap<Pid, ExitStatus>>,
    more: Notify,
}

#[derive(Debug)]
enum Ask {
    Tell(Request),
    Put(Name, Kind, OwnedFd, oneshot::Sender<Result<(), Error>>),
    Drop(Name, oneshot::Sender<Result<(), Error>>),
    Fetch(oneshot::Sender<Kept>),
    Stopping(Action, oneshot::Sender<Action>),
}

#[derive(Debug)]
enum Waiter {
    Done(Name, oneshot::Sender<Result<(), Error>>),
    Kept(Kept, oneshot::Sender<Kept>),
    Stopping(oneshot::Sender<Action>),
}

/// The task behind the handles.
#[derive(Debug)]
pub struct Task {
    asks: mpsc::Receiver<Ask>,
    client: Arc<Client>,
    ended: Arc<Ended>,
    stop: stop::Handle,
    waiters: VecDeque<Waiter>,
}

/// The handle, and the task that somebody has to [`Task::run`]. Stops that init wants go to `stop`.
pub fn build(client: Client, stop: stop::Handle) -> (Link, Task) {
    let (client, ended) = (Arc::new(client), Arc::new(Ended::default()));
    let (send, asks) = mpsc::channel(64);
    let link = Link { asks: send, client: client.clone(), ended: ended.clone() };
    (link, Task { asks, client, ended, stop, waiters: VecDeque::new() })
}

impl Link {
    /// Has init keep a descriptor; replaces one of the same name.
    pub async fn put(&self, name: &str, kind: Kind, descriptor: OwnedFd) -> Result<(), Error> {
        let (send, answer) = oneshot::channel();
        self.ask(Ask::Put(Name::new(name)?, kind, descriptor, send)).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Has init close a descriptor; none of that name is fine.
    pub async fn drop(&self, name: &str) -> Result<(), Error> {
        let (send, answer) = oneshot::channel();
        self.ask(Ask::Drop(Name::new(name)?, send)).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Everything that init keeps.
    pub async fn fetch(&self) -> Result<Kept, Error> {
        let (send, answer) = oneshot::channel();
        self.ask(Ask::Fetch(send)).await?;
        answer.await.map_err(|_| Error::Closed)
    }

    /// Tells init that the main loop turns.
    pub async fn heartbeat(&self) -> Result<(), Error> {
        self.ask(Ask::Tell(Request::Heartbeat)).await
    }

    /// This process's end is known: init need not keep it.
    pub async fn forget(&self, pid: Pid) -> Result<(), Error> {
        self.ended.lock().remove(&pid);
        self.ask(Ask::Tell(Request::Forget { pid })).await
    }

    /// Tells init how what was booted stands.
    pub async fn standing(&self, standing: Standing) -> Result<(), Error> {
        self.ask(Ask::Tell(Request::Standing { standing })).await
    }

    /// Tells init that an orderly stop has begun. When this returns init has heard it: it finishes the stop if machined
    /// dies. Returns how the stop ends: an earlier wish that init has heard of counts.
    pub async fn stopping(&self, action: Action) -> Result<Action, Error> {
        let (send, answer) = oneshot::channel();
        self.ask(Ask::Stopping(action, send)).await?;
        answer.await.map_err(|_| Error::Closed)
    }

    /// Tells init that everything of ours is stopped.
    pub async fn stop(&self, action: Action) -> Result<(), Error> {
        self.ask(Ask::Tell(Request::Stop { action })).await
    }

    /// Waits for init to tell how a process ended that is not our child. Cancel-safe; [`Self::forget`] it afterwards.
    pub async fn status(&self, pid: Pid) -> ExitStatus {
        loop {
            let more = self.ended.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Some(status) = self.ended.lock().get(&pid) {
                return *status;
            }
            more.await;
        }
    }

    /// For a forked child that registers itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    async fn ask(&self, ask: Ask) -> Result<(), Error> {
        self.asks.send(ask).await.map_err(|_| Error::Closed)
    }
}

impl Ended {
    fn lock(&self) -> MutexGuard<'_, HashMap<Pid, ExitStatus>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// Serves the handles until the last is gone, or the link breaks.
    pub async fn run(mut self) -> Result<(), Error> {
        let socket = crate::poll::readable(rustix::io::dup(&*self.client).map_err(io::Error::from)?)?;
        loop {
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.send(ask).await?,
                    None => return Ok(()),
                },
                ready = socket.readable() => {
                    let mut ready = ready?;
                    match self.client.try_recv() {
                        Ok(Some((event, descriptor))) => self.hear(event, descriptor),
                        Ok(None) => return Err(Error::Closed),
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                        Err(e) => return Err(e.into()),
                    }
                }
            }
        }
    }

    async fn send(&mut self, ask: Ask) -> Result<(), Error> {
        let (request, descriptor, waiter) = match ask {
            Ask::Tell(request) => (request, None, None),
            Ask::Put(name, kind, fd, answer) => {
                (Request::Put { name, kind }, Some(fd), Some(Waiter::Done(name, answer)))
            }
            Ask::Drop(name, answer) => (Request::Drop { name }, None, Some(Waiter::Done(name, answer))),
            Ask::Stopping(action, answer) => (Request::Stopping { action }, None, Some(Waiter::Stopping(answer))),
            Ask::Fetch(answer) => (Request::Fetch, None, Some(Waiter::Kept(Kept::default(), answer))),
        };
        self.waiters.extend(waiter);
        loop {
            match self.client.try_send(&request, descriptor.as_ref().map(std::os::fd::AsFd::as_fd)) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(RETRY).await,
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn hear(&mut self, event: Event, descriptor: Option<OwnedFd>) {
        match event {
            Event::Done => self.done(Ok(())),
            Event::Refused { why } => self.done(Err(why)),
            Event::Stands { action } => {
                if let Some(Waiter::Stopping(answer)) = self.waiters.pop_front() {
                    let _ = answer.send(action);
                }
            }
            Event::Entry { name, kind, dropped } => {
                if let (Some(Waiter::Kept(kept, _)), Some(descriptor)) = (self.waiters.front_mut(), descriptor) {
                    kept.entries.push(Entry { name, kind, dropped, descriptor });
                }
            }
            Event::Status { pid, status } => {
                self.ended.lock().insert(pid, status);
                self.ended.more.notify_waiters();
            }
            Event::Fetched { generation, last, hung } => {
                if let Some(Waiter::Kept(kept, answer)) = self.waiters.pop_front() {
                    // Whoever asked may have given up: then the descriptors are closed here.
                    let _ = answer.send(Kept { generation, last, hung, ..kept });
                }
            }
            Event::StopWanted { action, cause } => {
                self.stop.request(stop::Request::new(action.into(), cause.to_string()));
            }
        }
    }

    fn done(&mut self, result: Result<(), Refusal>) {
        match self.waiters.pop_front() {
            Some(Waiter::Done(name, answer)) => {
                let _ = answer.send(result.map_err(|why| Error::Refused { name, why }));
            }
            Some(Waiter::Stopping(_) | Waiter::Kept(..)) | None => {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
