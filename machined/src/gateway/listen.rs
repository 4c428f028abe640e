//! Takes clients from the listening socket, as many as there is room for.
//!
//! Invariant: no more than the limits' connections and handshakes at any time; a handshake too many takes the place of the
//! oldest one of the client that has the most, so whoever says nothing keeps nobody out. Run by `gateway::run`.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    report,
    seats::{Limits, Seats},
    session::{Error, Session},
    tls::Terms,
};

/// After an error of accept that will not go away by itself at once: too many open files, out of memory.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves for ever; every connection ends when it is dropped.
pub async fn listen(listener: &TcpListener, limits: Limits, terms: watch::Receiver<Arc<Terms>>, api: Rc<Path>) {
    let seats = Seats::new(limits);
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            // Cancel-safe.
            accepted = listener.accept() => match accepted {
                Err(error) => failed(&error).await,
                Ok((tcp, address)) => {
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    let from = origin(&tcp, address.ip());
                    if terms.borrow().config(from).is_none() {
                        report::stranger(format_args!("{address}: refused: it is in none of the allowed networks"));
                        continue;
                    }
                    match seats.take(address.ip()) {
                        Err(full) => report::stranger(format_args!("{address}: refused: {full}")),
                        Ok(seat) => {
                            let (terms, api, within) = (terms.clone(), api.clone(), limits.handshake);
                            let session = Session { address, from, seat, terms, api, within };
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

/// Where a client comes from, for what is allowed: the machine that asks itself by an address of its own is at home.
fn origin(tcp: &TcpStream, address: IpAddr) -> IpAddr {
    match tcp.local_addr() {
        Ok(own) if own.ip().to_canonical() == address => Ipv4Addr::LOCALHOST.into(),
        _ => address,
    }
}

/// Ends every connection at once, for ever: better than a client that waits for what does not come. Cancel-safe.
pub async fn turn_away(listener: &TcpListener) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => drop(tcp),
            Err(error) => failed(&error).await,
        }
    }
}

async fn failed(error: &std::io::Error) {
    report::stranger(format_args!("cannot accept a connection: {error}"));
    tokio::time::sleep(PAUSE).await;
}

async fn serve(session: Session, tcp: TcpStream) {
    let address = session.address;
    match session.run(tcp).await {
        // Clients come and go; machined logs what they asked for.
        Ok(()) | Err(Error::Broken(_)) => {}
        Err(error) => report::stranger(format_args!("{address}: {}", crate::trace::chain(&error))),
    }
}
