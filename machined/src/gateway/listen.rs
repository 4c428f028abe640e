//! Takes clients from the listening socket, as many as there is room for.
//!
//! Invariant: no more than the limits' connections and handshakes at any time; a handshake too many waits in the kernel's
//! queue. Run by `gateway::run`.

use std::{io, net::SocketAddr, path::Path, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use super::{
    report,
    seats::{Limits, Seats},
    session::{Error, Session},
    tls::Terms,
};

/// Handshakes at once: each is a few milliseconds of the one thread, or up to ten seconds of a slow client.
pub const HANDSHAKES: usize = 64;

/// After an error of accept that will not go away by itself at once: too many open files, out of memory.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves for ever; every connection ends when it is dropped.
pub async fn listen(listener: &TcpListener, limits: Limits, terms: watch::Receiver<Arc<Terms>>, api: Rc<Path>) {
    let seats = Seats::new(limits);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(listener, &handshakes) => match accepted {
                Err(error) => {
                    report::say(format_args!("cannot accept a connection: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
                Ok((tcp, address, shaking)) => {
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    match seats.take(address.ip()) {
                        Err(full) => report::say(format_args!("{address}: refused: {full}")),
                        Ok(seat) => {
                            let (terms, api, within) = (terms.clone(), api.clone(), limits.handshake);
                            let session = Session { address, seat, shaking, terms, api, within };
                            sessions.spawn_local(serve(session, tcp));
                        }
                    }
                }
            },
            // Ended sessions are collected here; a panic of one of them ends the whole process in the image's profile.
            Some(_) = sessions.join_next() => {}
        }
    }
}

/// The next connection, once there is room for its handshake. Cancel-safe: both waits are.
async fn accept(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let shaking = handshakes.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (tcp, address) = listener.accept().await?;
    Ok((tcp, address, shaking))
}

async fn serve(session: Session, tcp: TcpStream) {
    let address = session.address;
    match session.run(tcp).await {
        // Clients come and go; machined logs what they asked for.
        Ok(()) | Err(Error::Broken(_)) => {}
        Err(error) => report::say(format_args!("{address}: {}", crate::trace::chain(&error))),
    }
}
