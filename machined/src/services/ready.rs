//! When a service is ready, as it was declared: at once, when it says so on a pipe, or when something accepts at an
//! address. Called by the unit while the service starts.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use config::service::{Ready, Service};
use sys::link::Kind;
use tokio::io::unix::AsyncFd;

use super::Error;
use crate::link::{Entry, Link};

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(250);

/// How one start of a service becomes ready.
#[derive(Debug)]
pub(super) enum Readiness {
    /// As soon as it runs.
    AtOnce,
    /// It writes a byte; none: nothing has been started yet, or the pipe was lost.
    Notify(Option<AsyncFd<OwnedFd>>),
    /// Something accepts there.
    Tcp(SocketAddr),
}

impl Readiness {
    /// Goes on with the pipe init kept.
    pub(super) fn adopt(ready: &Ready, kept: Option<Entry>) -> Result<Self, Error> {
        Ok(match (ready.notify, ready.tcp) {
            (true, _) => {
                let pipe = kept.map(|entry| crate::poll::readable(entry.descriptor));
                Self::Notify(pipe.transpose().map_err(Error::Process)?)
            }
            (false, Some(address)) => Self::Tcp(address),
            (false, None) => Self::AtOnce,
        })
    }

    /// For a new start: the end of the pipe the service gets, if it gets one.
    pub(super) async fn renew(&mut self, service: &Service, link: &Link) -> Result<Option<OwnedFd>, Error> {
        let Self::Notify(pipe) = self else { return Ok(None) };
        let (read, write) = std::io::pipe().map_err(Error::Process)?;
        let read = OwnedFd::from(read);
        rustix::io::ioctl_fionbio(&read, true).map_err(|e| Error::Process(e.into()))?;
        link.put(&format!("ready:{}", service.name), Kind::Plain, read.try_clone().map_err(Error::Process)?).await?;
        *pipe = Some(crate::poll::readable(read).map_err(Error::Process)?);
        Ok(Some(write.into()))
    }

    /// Waits until it is ready. Cancel-safe; says so again until [`Self::done`].
    pub(super) async fn wait(&self) {
        match self {
            Self::AtOnce => {}
            Self::Notify(Some(pipe)) => said(pipe).await,
            Self::Notify(None) => std::future::pending().await,
            Self::Tcp(address) => {
                while tokio::net::TcpStream::connect(address).await.is_err() {
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// It is ready, and that is written down: the pipe is not needed any more.
    pub(super) async fn done(&mut self, service: &str, link: &Link) {
        if let Self::Notify(pipe) = self {
            *pipe = None;
            if let Err(error) = link.drop(&format!("ready:{service}")).await {
                tracing::warn!("service {service}: {error}");
            }
        }
    }
}

async fn said(pipe: &AsyncFd<OwnedFd>) {
    loop {
        let Ok(mut ready) = pipe.readable().await else { break };
        // The byte stays in the pipe: who is killed before it is written down leaves it to the next machined.
        match rustix::io::ioctl_fionread(pipe.as_fd()) {
            Ok(1..) => return,
            // Closed without a word: the deadline decides.
            _ if ready.ready().is_read_closed() => break,
            _ => ready.clear_ready(),
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn the_word_stays_for_the_next_machined() {
        let (read, mut write) = std::io::pipe().unwrap();
        let kept = || Entry {
            name: sys::link::Name::new("ready:web").unwrap(),
            kind: Kind::Plain,
            dropped: 0,
            descriptor: read.try_clone().unwrap().into(),
        };
        let ready = Ready { notify: true, ..Ready::default() };
        let said = async |readiness: &Readiness| {
            tokio::time::timeout(Duration::from_millis(100), readiness.wait()).await.is_ok()
        };
        let first = Readiness::adopt(&ready, Some(kept())).unwrap();
        assert!(!said(&first).await);
        write.write_all(b"x").unwrap();
        assert!(said(&first).await);
        drop((first, write));
        assert!(said(&Readiness::adopt(&ready, Some(kept())).unwrap()).await);
    }

    #[tokio::test]
    async fn a_pipe_closed_without_a_word_is_no_word() {
        let (read, _) = std::io::pipe().unwrap();
        let pipe = crate::poll::readable(OwnedFd::from(read)).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(100), said(&pipe)).await.is_err());
    }
}
