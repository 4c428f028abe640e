//! Takes the gateway's connections: checks who connects, reads the preamble, and hands on a connection that knows its peer.
//!
//! Invariant: no byte reaches the gRPC server from anybody but the gateway, and none before a valid preamble and the HTTP/2
//! preface. Both are waited for two seconds at most; a connection that is not counted does not exist. Run by
//! `server::run`.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::peer::Peer;
use crate::gateway::{LIMITS, preamble::Preamble, wire};
use crate::trace::chain;

/// The gateway sends the preamble with the client's first bytes, so it is there when the connection is.
const OPENING: Duration = Duration::from_secs(2);

/// What the kernel holds of what the gateway does not take because its client is slow; it counts against our memory.
const SENDING: usize = 32 * 1024;

/// After an error of accept that does not go away at once.
const PAUSE: Duration = Duration::from_millis(200);

/// What every HTTP/2 client sends first (RFC 9113, 3.4). Without it hyper would wait for ever.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("a process of uid {0} connected to the API's socket, which is the gateway's alone")]
    NotGateway(u32),
    #[error("the gateway's preamble is not valid")]
    Preamble(#[from] wire::Error),
    #[error("no preamble and HTTP/2 preface within {} s", OPENING.as_secs())]
    Slow,
    #[error("{0}: this is not HTTP/2")]
    NotHttp2(Peer),
    #[error("the socket failed")]
    Io(#[from] io::Error),
}

/// A client's connection, at its first byte.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// How much of the preface, which was read here, hyper has been given.
    replayed: usize,
    peer: Peer,
    _counted: OwnedSemaphorePermit,
}

/// Hands on connections of the process `gateway`s uid, until nobody takes them.
pub async fn accept(listener: UnixListener, gateway: u32, to: mpsc::Sender<Connection>) {
    // The gateway bounds clients; this bounds the gateway.
    let room = Arc::new(Semaphore::new(LIMITS.total));
    let mut opening = JoinSet::new();
    loop {
        tokio::select! {
            accepted = next(&listener, &room) => match accepted {
                Ok((stream, counted)) => {
                    let to = to.clone();
                    opening.spawn(async move {
                        match open(stream, counted, gateway).await {
                            Ok(connection) => drop(to.send(connection).await),
                            Err(error) => super::complain(format_args!("connection refused: {}", chain(&error))),
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections of the gateway");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = opening.join_next() => {}
            () = to.closed() => return,
        }
    }
}

/// Cancel-safe: both waits are.
async fn next(listener: &UnixListener, room: &Arc<Semaphore>) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let counted = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, counted))
}

async fn open(mut stream: UnixStream, counted: OwnedSemaphorePermit, gateway: u32) -> Result<Connection, Error> {
    let uid = stream.peer_cred()?.uid();
    if uid != gateway {
        return Err(Error::NotGateway(uid));
    }
    rustix::net::sockopt::set_socket_send_buffer_size(&stream, SENDING).map_err(io::Error::from)?;
    let peer = timeout(OPENING, read_opening(&mut stream)).await.map_err(|_| Error::Slow)??;
    Ok(Connection { stream, replayed: 0, peer, _counted: counted })
}

async fn read_opening(stream: &mut UnixStream) -> Result<Peer, Error> {
    let peer = Peer::from(Preamble::read(stream).await?);
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    if &preface == PREFACE { Ok(peer) } else { Err(Error::NotHttp2(peer)) }
}

impl Connection {
    /// Whose it is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = &PREFACE[self.replayed..];
        if !rest.is_empty() {
            let some = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..some]);
            self.replayed += some;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
#[path = "accept/tests.rs"]
mod tests;
