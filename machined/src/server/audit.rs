//! The service Audit: the records as they lie on the disk, for clients that verify them; and what of a call is recorded.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use http_body::{Frame, SizeHint};
use hyper::body::{Body, Incoming};
use sha2::{Digest, Sha256};
use tonic::{Code, Request, Response, Status};

use super::{access, error::Error, peer::Peer};
use crate::{
    audit::{Call, Handle, Request as Seen},
    gateway::preamble::Certificate,
};
use api::{
    roles::Role,
    v1::{self, audit_server::Audit},
};

/// What machined asks itself all the time.
const LIVES: &str = "/grpc.health.v1.Health/Check";

/// Serves the log.
#[derive(Debug)]
pub(super) struct Records {
    log: Handle,
}

impl Records {
    /// Of this log.
    pub(super) fn new(log: Handle) -> Self {
        Self { log }
    }
}

/// Where a client's stream is.
struct Cursor {
    log: Handle,
    next: u64,
    page: std::vec::IntoIter<(u64, [u8; api::audit::SIZE])>,
    follow: bool,
}

impl Cursor {
    async fn next(mut self) -> Option<(Result<v1::EntriesResponse, Status>, Self)> {
        let mut shown = self.log.shown();
        loop {
            if let Some((sequence, record)) = self.page.next() {
                return Some((Ok(v1::EntriesResponse { sequence, record: record.to_vec() }), self));
            }
            shown.mark_unchanged();
            match self.log.page(self.next).await {
                Ok(Some((page, next))) => (self.page, self.next) = (page.into_iter(), next),
                Ok(None) if self.follow => shown.changed().await.ok()?,
                Ok(None) => return None,
                Err(error) => {
                    (self.follow, self.next) = (false, u64::MAX);
                    return Some((Err(Error::from(error).into()), self));
                }
            }
        }
    }
}

#[tonic::async_trait]
impl Audit for Records {
    type EntriesStream = BoxStream<'static, Result<v1::EntriesResponse, Status>>;

    async fn entries(&self, request: Request<v1::EntriesRequest>) -> Result<Response<Self::EntriesStream>, Status> {
        let v1::EntriesRequest { from, follow } = request.into_inner();
        self.log.opened().await.map_err(Error::from)?;
        let cursor = Cursor { log: self.log.clone(), next: from, page: Vec::new().into_iter(), follow };
        Ok(Response::new(Box::pin(stream::unfold(cursor, Cursor::next))))
    }

    async fn head(&self, _: Request<v1::HeadRequest>) -> Result<Response<v1::HeadResponse>, Status> {
        let (_, shown) = self.log.opened().await.map_err(Error::from)?;
        Ok(Response::new(v1::HeadResponse {
            sequence: shown.head.sequence,
            hash: shown.head.hash.to_vec(),
            oldest: shown.oldest,
            dropped: self.log.dropped(),
        }))
    }
}

/// One call that is being answered. It leaves a record also when its client goes away before the answer.
pub(super) struct Pending {
    log: Handle,
    peer: Peer,
    path: String,
    witness: Witness,
    done: bool,
}

impl Pending {
    /// Of this client.
    pub(super) fn new(log: Handle, peer: Peer, path: &str) -> Self {
        Self { log, peer, path: path.to_owned(), witness: Witness::default(), done: false }
    }

    /// Sees the request's bytes.
    pub(super) fn witness(&self) -> Witness {
        self.witness.clone()
    }

    /// Whether it has changed something, or may have. One that was refused has not: who may not do anything would else write
    /// as many records as they like, and push all others out of the ring.
    fn changed(&self, code: Code) -> bool {
        let refused = matches!(code, Code::PermissionDenied | Code::Unimplemented | Code::InvalidArgument);
        access::changes(&self.path) && !refused
    }

    /// Records what came of it: a change durably.
    pub(super) async fn ended(mut self, code: Code) {
        self.done = true;
        let Some(call) = self.call(code) else { return };
        let seen = self.witness.seen();
        let change = self.changed(code);
        // Whatever the rescue does is to be found, and not only if machined lives for some seconds more.
        if change || call.rescue { self.log.durable(call, seen, change).await } else { self.log.read(call, seen) }
    }

    /// None for what machined asks itself: whether it lives, as nobody else.
    fn call(&self, code: Code) -> Option<Call> {
        let Self { peer, path, .. } = self;
        let certificate = peer.certificate.as_deref();
        let probe = |one: &Certificate| one.organisations == [Role::Probe.organisation()];
        if path == LIVES && certificate.is_some_and(probe) {
            return None;
        }
        let change = self.changed(code);
        Some(Call {
            fingerprint: certificate.map(|certificate| certificate.fingerprint).unwrap_or_default(),
            code: u32::try_from(i32::from(code)).unwrap_or(u32::MAX),
            rescue: certificate.is_some_and(|certificate| certificate.rescue),
            role: certificate.map(|certificate| certificate.organisations.join(",")).unwrap_or_default(),
            subject: certificate.map(|certificate| certificate.subject.clone()).unwrap_or_default(),
            // Of reads, those of one client count as equal whatever connection they come by.
            address: if change { peer.address.to_string() } else { peer.address.ip().to_string() },
            method: if access::exists(path) { self.witness.method(path) } else { "(unknown)".to_owned() },
        })
    }
}

/// What was begun may be done all the same.
impl Drop for Pending {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Some(call) = self.call(Code::Cancelled) {
            let seen = self.witness.seen();
            if access::changes(&self.path) { self.log.left(call, seen) } else { self.log.read(call, seen) }
        }
    }
}

/// What of a request has been seen; an extension of every request, for who reads it to add words.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    hash: Sha256,
    bytes: u64,
    allows: Vec<&'static str>,
}

impl Witness {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Digest and length so far.
    pub(super) fn seen(&self) -> Seen {
        let noted = self.noted();
        Seen { digest: noted.hash.clone().finalize().into(), bytes: noted.bytes }
    }

    /// This request allows what is refused otherwise: a digest alone would not tell anybody.
    pub(super) fn allows<T>(request: &Request<T>, what: &'static str) {
        if let Some(witness) = request.extensions().get::<Self>() {
            witness.noted().allows.push(what);
        }
    }

    fn method(&self, path: &str) -> String {
        [&[path], self.noted().allows.as_slice()].concat().join(" ")
    }
}

/// A request's body whose bytes are digested as they pass.
#[derive(Debug)]
pub(super) struct Witnessed {
    body: Incoming,
    witness: Witness,
}

impl Witnessed {
    /// With this witness.
    pub(super) fn new(body: Incoming, witness: Witness) -> Self {
        Self { body, witness }
    }
}

impl Body for Witnessed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let mut noted = self.witness.noted();
            noted.hash.update(data);
            noted.bytes += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
