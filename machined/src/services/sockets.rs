//! Descriptors of a service that outlive it and machined: listening sockets, the pipe of its log, the pipe it says on
//! that it is ready. Made once, kept by init.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use config::service::Listen;
use sys::link::Kind;

use crate::link::{self, Kept, Link};

/// The largest pipe an unprivileged limit allows: what a service may write ahead of machined.
const PIPE: usize = 1 << 20;

/// Why a descriptor could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, say.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A pipe.
    #[error("cannot make a pipe")]
    Pipe(#[source] io::Error),
    /// init did not keep it.
    #[error(transparent)]
    Link(#[from] link::Error),
}

/// A listening socket of a service: the one init kept, or a new one.
pub(super) async fn listen(link: &Link, kept: &mut Kept, service: &str, listen: &Listen) -> Result<OwnedFd, Error> {
    let name = format!("listen:{service}:{}", listen.name);
    if let Some(entry) = kept.take(&name) {
        return Ok(entry.descriptor);
    }
    let failed = |source| Error::Listen { address: listen.tcp, source };
    let socket = TcpListener::bind(listen.tcp).or_else(|e| match listen.tcp.ip() {
        // A kernel without IPv6: the same port of IPv4 is what was meant.
        IpAddr::V6(any) if any.is_unspecified() && e.raw_os_error() == Some(97) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, listen.tcp.port()))
        }
        _ => Err(e),
    });
    let socket: OwnedFd = socket.map_err(failed)?.into();
    link.put(&name, Kind::Plain, socket.try_clone().map_err(failed)?).await?;
    Ok(socket)
}

/// Both ends of a service's log pipe, and how many bytes init threw away. init keeps the reading end, so the other one
/// can always be had again; machined holds it too, so the pipe never ends.
pub(super) async fn log(link: &Link, kept: &mut Kept, service: &str) -> Result<(OwnedFd, OwnedFd, u64), Error> {
    let name = format!("log:{service}");
    let (read, dropped) = match kept.take(&name) {
        Some(entry) => (entry.descriptor, entry.dropped),
        None => {
            let (read, _) = io::pipe().map_err(Error::Pipe)?;
            let read = OwnedFd::from(read);
            rustix::pipe::fcntl_setpipe_size(&read, PIPE).map_err(|e| Error::Pipe(e.into()))?;
            link.put(&name, Kind::LogPipe, read.try_clone().map_err(Error::Pipe)?).await?;
            (read, 0)
        }
    };
    let path = format!("/proc/self/fd/{}", read.as_raw_fd());
    let write = std::fs::OpenOptions::new().write(true).open(path).map_err(Error::Pipe)?;
    Ok((read, write.into(), dropped))
}

/// Has init forget what it threw away of this log, once that is written down; else it tells the next machined again.
pub(super) async fn told(link: &Link, service: &str, read: &OwnedFd, written: io::Result<()>) {
    let put = async {
        written.map_err(Error::Pipe)?;
        let copy = read.try_clone().map_err(Error::Pipe)?;
        // Put anew: the count is that since it was put.
        Ok::<(), Error>(link.put(&format!("log:{service}"), Kind::LogPipe, copy).await?)
    };
    if let Err(error) = put.await {
        tracing::warn!("service {service}: what was lost of its log cannot be noted: {}", crate::trace::chain(&error));
    }
}
