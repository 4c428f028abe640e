//! One client, from its first byte to its last: handshake, preamble, pump.
//!
//! Invariant: machined hears of a client only after its handshake is done and it has sent something; every wait before
//! that has one deadline. Run by `listen`, one task for each connection.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    preamble::{Certificate, Preamble},
    pump::pump,
    seats::Seat,
    tls::{self, Guest, Terms},
    wire,
};

/// For machined to make room in its queue.
const UPSTREAM: Duration = Duration::from_secs(5);

/// For saying goodbye to a client that cannot be served.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the kernel holds for a client that reads slowly. Its own limit is 4 MiB, and it counts against our memory.
const SENDING: usize = 128 * 1024;

/// A client that answers nothing for this long is gone: what it was sent is dropped, idle it is probed.
const GONE: Duration = Duration::from_secs(60);

/// How often it is looked whether a client's certificate is over: the clock may be set, too.
const AGE: Duration = Duration::from_secs(60);

/// Why a connection was ended by us.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Slow, or not a client.
    #[error("no handshake and first byte within {0:?}")]
    Slow(Duration),
    /// Others came, and it was the slowest of the client that had the most.
    #[error("its handshake was given up for another client's")]
    Evicted,
    /// TLS failed.
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    /// TLS accepted it, we cannot describe it.
    #[error("the certificate cannot be passed on")]
    Certificate(#[from] tls::Error),
    /// Too long for machined.
    #[error("the preamble cannot be written")]
    Preamble(#[from] wire::Error),
    /// machined is not there, or has been busy for too long.
    #[error("machined does not take connections")]
    Upstream(#[source] io::Error),
    /// One of the sides failed later; nothing worth a line of log.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The node's terms changed.
    #[error("the node no longer accepts this client")]
    Unwelcome,
    /// Its time is over.
    #[error("the client's certificate has come to its end")]
    Over,
}

/// A connection that was accepted and has a seat.
#[derive(Debug)]
pub(super) struct Session {
    /// Where it comes from.
    pub(super) address: SocketAddr,
    /// The same for what is allowed.
    pub(super) from: IpAddr,
    /// Its place among all connections.
    pub(super) seat: Seat,
    /// The terms, now and later.
    pub(super) terms: watch::Receiver<Arc<Terms>>,
    /// Where machined listens.
    pub(super) api: Rc<Path>,
    /// For the handshake and the first byte.
    pub(super) within: Duration,
}

impl Session {
    /// Serves the client to its end.
    pub(super) async fn run(self, tcp: TcpStream) -> Result<(), Error> {
        let Self { address, from, mut seat, mut terms, api, within } = self;
        let ours = terms.borrow_and_update().clone();
        watch_over(&tcp).map_err(Error::Broken)?;
        let config = ours.config(from).ok_or(Error::Unwelcome)?;
        let shake = Box::pin(timeout(within, shake(tcp, config)));
        let (mut client, first) = tokio::select! {
            shaken = shake => shaken.map_err(|_| Error::Slow(within))??,
            () = seat.evicted() => return Err(Error::Evicted),
        };
        seat.settle();
        let guest = ours.guest(from, client.get_ref().1.peer_certificates())?;
        drop(ours);
        let opened = open(&api, address, guest.certificate.clone(), &first).await;
        drop(first);
        let mut upstream = match opened {
            Ok(upstream) => upstream,
            Err(error) => {
                let _ = timeout(GOODBYE, client.shutdown()).await;
                return Err(error);
            }
        };
        tokio::select! {
            copied = pump(&mut client, &mut upstream) => copied.map_err(Error::Broken),
            error = unwelcome(terms, &guest) => {
                let _ = timeout(GOODBYE, client.shutdown()).await;
                Err(error)
            }
        }
    }
}

/// Lets the kernel notice clients that vanish, and hold no more for slow ones than `SENDING`.
fn watch_over(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(tcp, SENDING)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, GONE)?;
    sockopt::set_tcp_keepintvl(tcp, GONE / 6)?;
    sockopt::set_tcp_keepcnt(tcp, 6)?;
    sockopt::set_tcp_user_timeout(tcp, u32::try_from(GONE.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// The handshake, and the first bytes the client sends after it.
async fn shake(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<(TlsStream<TcpStream>, Vec<u8>), Error> {
    let mut client = TlsAcceptor::from(config).accept(tcp).await.map_err(Error::Handshake)?;
    // What the client does not take leaves the pump waiting, not the memory growing.
    client.get_mut().1.set_buffer_limit(Some(16 * 1024));
    // A client's HTTP/2 preface and settings.
    let mut first = Vec::with_capacity(256);
    client.read_buf(&mut first).await.map_err(Error::Handshake)?;
    Ok((client, first))
}

/// A connection to machined that knows whose it is and has the client's first bytes.
async fn open(
    api: &Path,
    address: SocketAddr,
    certificate: Option<Certificate>,
    first: &[u8],
) -> Result<UnixStream, Error> {
    let mut opening = Preamble { address, certificate }.format()?;
    opening.extend_from_slice(first);
    let mut upstream = connect(api).await.map_err(Error::Upstream)?;
    upstream.write_all(&opening).await.map_err(Error::Upstream)?;
    Ok(upstream)
}

/// Connects; waits for room in the queue of a machined that is busy or being restarted.
async fn connect(api: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + UPSTREAM;
    loop {
        match timeout_at(deadline, UnixStream::connect(api)).await? {
            // The queue is full (EAGAIN): unix sockets cannot be waited for.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                sleep(Duration::from_millis(50)).await;
            }
            connected => return connected,
        }
    }
}

/// Returns when the terms have changed so that this client would not be let in again, or its certificate is over.
async fn unwelcome(mut terms: watch::Receiver<Arc<Terms>>, guest: &Guest) -> Error {
    loop {
        tokio::select! {
            changed = terms.changed() => {
                if changed.is_err() {
                    // Nobody is left to change them.
                    return std::future::pending().await;
                }
                if !terms.borrow_and_update().keep(guest) {
                    return Error::Unwelcome;
                }
            }
            () = sleep(AGE) => {}
        }
        if terms.borrow().is_over(guest) {
            return Error::Over;
        }
    }
}
