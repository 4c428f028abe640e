//! HTTP/2 over one connection: every request is authorised, counted and bounded in time before a service sees it.
//!
//! Invariant: what a client can make machined hold in memory has a limit for each stream, each connection, each address
//! and in all. (hyper directly rather than tonic's own server, which has no limit for what a slow reader is owed.) Run by
//! `server::run`, one task for each connection.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{sync::watch, time::timeout};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service;

use super::{
    accept::Connection,
    access::{self, Refusal},
    audit::{Pending, Witness, Witnessed},
    error::Error,
    flights::{Flight, Flights},
    peer::{Caller, Peer},
};
use crate::{
    answered::{self, Answering},
    audit,
    maintenance::Maintenance,
};

/// Streams of one connection.
const STREAMS: u32 = 64;

/// What a client may send on one stream before a service has read it; our requests are small.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same over all streams of a connection.
const CONNECTION_WINDOW: u32 = 128 * 1024;

/// What may still be unsent when hyper asks an answer for its next piece. Small, so that an answer (and its place among the
/// flights) lives until the client has taken nearly all of it, and one piece for each stream is all that is held.
const SEND_BUFFER: usize = 1024;

/// All headers of a request.
const HEADERS: u32 = 16 * 1024;

/// A silent client is asked for a sign of life, and has as long again to give it.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// For an answer, or for the start of a stream of answers.
const ANSWER: Duration = Duration::from_secs(30);

/// For a change that makes partitions and file systems before it is answered. It goes on when nobody waits any more.
const CHANGE: Duration = Duration::from_secs(300);

/// Serves one connection to its end.
pub(super) async fn serve(
    connection: Connection,
    routes: Routes,
    flights: Flights,
    maintenance: watch::Receiver<Maintenance>,
    log: audit::Handle,
) {
    let peer = connection.peer().clone();
    let who = peer.clone();
    let service = service_fn(move |request| {
        let now = maintenance.borrow().clone();
        answer(request, routes.clone(), peer.clone(), flights.clone(), now, log.clone())
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .serve_connection(TokioIo::new(connection), service)
        .await;
    if let Err(error) = served {
        // Clients end as they like.
        tracing::debug!(peer = %who, %error, "connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    routes: Routes,
    peer: Peer,
    flights: Flights,
    maintenance: Maintenance,
    log: audit::Handle,
) -> Result<Response<Body>, Infallible> {
    let pending = Pending::new(log, peer.clone(), request.uri().path());
    let admitted = admit(request, routes, peer, flights, maintenance, pending.witness()).await;
    let response = admitted.unwrap_or_else(|error| Status::from(error).into_http());
    // What failed says so in its headers; a stream that has begun is one that was let through.
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    pending.ended(code).await;
    Ok(response)
}

async fn admit(
    mut request: Request<Incoming>,
    mut routes: Routes,
    peer: Peer,
    flights: Flights,
    maintenance: Maintenance,
    witness: Witness,
) -> Result<Response<Body>, Error> {
    let method = || request.uri().path().chars().take(200).collect();
    access::check(request.uri().path(), &peer, &maintenance).map_err(|refusal| match refusal {
        Refusal::Unknown => Error::UnknownMethod { method: method() },
        Refusal::Needs(needs) => {
            super::complain(format_args!("call denied: {} to {peer}", request.uri().path()));
            Error::Denied { method: method(), needs }
        }
    })?;
    let flight = flights.take(peer.address.ip(), access::streams(request.uri().path()))?;
    let (answering, answered) = answered::pair();
    request.extensions_mut().insert(Caller { peer, answered });
    request.extensions_mut().insert(witness.clone());
    let within = if access::takes_long(request.uri().path()) { CHANGE } else { ANSWER };
    let Ok(response) = timeout(within, routes.call(request.map(|body| Body::new(Witnessed::new(body, witness)))))
        .await
        .map_err(|_| Error::Slow(within))?;
    Ok(response.map(|body| Body::new(Held { body, _flight: flight, _answering: answering })))
}

/// An answer that has its place until it has ended.
struct Held {
    body: Body,
    _flight: Flight,
    _answering: Answering,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
