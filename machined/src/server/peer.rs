//! Who is at the other end of a request, as the gateway vouched for it.
//!
//! Invariant: every request has one; it comes from the preamble of its connection and never from the request.

use std::{fmt, net::SocketAddr, sync::Arc};

use tonic::Request;

use super::error::Error;
use crate::{
    answered::Answered,
    gateway::preamble::{Certificate, Preamble},
};

/// A client.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it connects from.
    pub address: SocketAddr,
    /// What it has shown; a stranger has nothing.
    pub certificate: Option<Arc<Certificate>>,
}

impl From<Preamble> for Peer {
    fn from(preamble: Preamble) -> Self {
        Self { address: preamble.address, certificate: preamble.certificate.map(Arc::new) }
    }
}

/// Who asks, and when they have their answer: an extension of every request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub peer: Peer,
    /// When what follows from the call may begin.
    pub answered: Answered,
}

impl Caller {
    /// Of this request.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Error> {
        request.extensions().get::<Self>().cloned().ok_or(Error::NoPeer)
    }
}

/// For logs and the cause of a stop.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.certificate {
            None => write!(f, "{}", self.address.ip()),
            Some(certificate) => write!(f, "{} ({})", self.address.ip(), certificate.subject),
        }
    }
}
