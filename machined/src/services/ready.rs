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

    /// Waits until it is ready. Cancel-safe.
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

    /// It is ready: the pipe is not needed any more.
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
        match rustix::io::read(pipe.as_fd(), &mut [0; 1]) {
            Ok(1..) => return,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => ready.clear_ready(),
            // Closed without a word: the deadline decides.
            _ => break,
        }
    }
    std::future::pending().await
}
