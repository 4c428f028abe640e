//! The identity of a configured machine: a key that never leaves it, and the chain that somebody signed for it.
//!
//! Invariant: a chain is taken only for a key that this machine made, for the purpose of a server of nodes, and in its time.
//! Key and chain lie on STATE, the chain always of the key beside it; what comes before STATE is there waits in memory.

use std::{fmt, sync::Arc};

use api::pki::{Certificate, Key, Request};
use tokio::sync::watch;

/// Key and chain, as the gateway shows them.
pub struct Held {
    /// Own certificate first, then its issuers.
    pub chain: Vec<Certificate>,
    /// Of the first.
    pub key: Key,
}

/// Why a chain is not taken, or there is no request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key or the request cannot be made.
    #[error(transparent)]
    Pki(#[from] api::pki::Error),
    /// It is for the key of somebody else, or of an older request.
    #[error(
        "the certificate is not for the key of this machine's request; ask for the request again and have that signed"
    )]
    OtherKey,
    /// It is not what a node shows.
    #[error("the certificate {0}")]
    Unfit(&'static str),
    /// STATE failed.
    #[error("cannot keep the identity in {path}")]
    State {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The machine's identity; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: watch::Sender<Option<Arc<Held>>>,
    pending: std::sync::Mutex<Option<Key>>,
}

impl Handle {
    /// One that nobody has signed anything for yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared { held: watch::Sender::default(), pending: std::sync::Mutex::default() }))
    }

    /// The identity now and every later one; none while nobody has signed one.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Held>>> {
        self.0.held.subscribe()
    }

    /// The request for a certificate with the names that the machine has now. The same key until a certificate for it is installed.
    pub fn request(&self) -> Result<Request, Error> {
        let mut pending = self.0.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if pending.is_none() {
            *pending = Some(Key::make()?);
        }
        let key = pending.as_ref().ok_or(Error::OtherKey)?;
        Ok(key.request("stele", &[])?)
    }

    /// Whether this chain (PEM, own certificate first) answers the request: before anything else of the same call is done.
    pub fn check(&self, chain: &str) -> Result<(), Error> {
        let chain = Certificate::chain(chain)?;
        let pending = self.0.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let own = chain.first().ok_or(Error::Unfit("is missing"))?;
        if pending.as_ref().is_some_and(|key| own.is_of(key)) { Ok(()) } else { Err(Error::OtherKey) }
    }

    /// Takes the chain (PEM, own certificate first): shown from now on, and kept on STATE as soon as there is one.
    pub async fn install(&self, chain: &str) -> Result<Arc<Held>, Error> {
        self.check(chain)?;
        let chain = Certificate::chain(chain)?;
        let key = self.0.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let held = Arc::new(Held { chain, key: key.ok_or(Error::OtherKey)? });
        self.0.held.send_replace(Some(held.clone()));
        Ok(held)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?})", self.chain)
    }
}
