//! The identity of a configured machine: a key that never leaves it, and the chain that somebody signed for it.
//!
//! Invariant: a chain is taken only for a key that this machine made, for the purpose of a server of nodes, and in its time.
//! Key and chain lie on STATE in one file, so the chain is always of the key beside it; what comes before STATE is there waits
//! in memory. The key of a request that nobody has answered yet lies in /run, so a restart of machined does not spoil it.
//! `follow` is run by `boot`; `server::enrolment`, the engine and `controllers::pki` use the handle.

mod keep;

use std::{fmt, path::PathBuf, sync::Arc, time::SystemTime};

use api::{
    pki::{Ca, Certificate, Key, Node, Request},
    roles::Role,
};
use tokio::sync::{Mutex, watch};

use crate::{blocking, state, trace::chain};

/// Own certificate and its issuers; as many as the gateway takes.
const CHAIN: usize = 8;

/// Names in one certificate: hosts with more addresses than that are reached by some of them.
pub const NAMES: usize = 64;

/// Key and chain, as the gateway shows them.
pub struct Held {
    /// Own certificate first, then its issuers.
    pub chain: Vec<Certificate>,
    /// Of the first.
    pub key: Key,
}

/// The identity, as far as it is known.
#[derive(Clone, Debug, Default)]
pub enum Now {
    /// STATE was not looked at yet.
    #[default]
    Unknown,
    /// Nobody has signed one.
    None,
    /// This one.
    Held(Arc<Held>),
}

/// Why a chain is not taken, or there is no request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key or the request cannot be made.
    #[error(transparent)]
    Pki(#[from] api::pki::Error),
    /// It is for the key of somebody else, or of an older request.
    #[error(
        "the certificate is not for the key of this machine's request: ask for the request again and have that signed"
    )]
    OtherKey,
    /// It is not what a node shows.
    #[error("the certificate is not taken: {0}")]
    Unfit(String),
    /// STATE failed.
    #[error("cannot keep the identity in {}", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is kept is not an identity.
    #[error("what {} keeps is not an identity: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The machine's identity; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    now: watch::Sender<Now>,
    names: watch::Sender<Vec<String>>,
    clock_sure: watch::Receiver<bool>,
    state: state::Handle,
    /// Where the key of a request is kept.
    pending: PathBuf,
    /// Who makes or installs something, one at a time.
    turn: Mutex<()>,
}

impl Handle {
    /// One that has not looked at `state` yet; `run` is machined's folder in memory.
    pub fn new(state: state::Handle, run: &std::path::Path, clock_sure: watch::Receiver<bool>) -> Self {
        let (now, names) = (watch::Sender::default(), watch::Sender::default());
        Self(Arc::new(Shared {
            now,
            names,
            clock_sure,
            state,
            pending: run.join("pending-key"),
            turn: Mutex::default(),
        }))
    }

    /// The identity now and every later one.
    pub fn watch(&self) -> watch::Receiver<Now> {
        self.0.now.subscribe()
    }

    /// Looks for the identity on STATE as soon as there is one, and writes there what came before it. For ever.
    pub async fn follow(&self) {
        let mut state = self.0.state.watch();
        loop {
            let found = state.borrow_and_update().clone();
            match found {
                state::State::Waiting => {}
                state::State::None(_) | state::State::Unusable(_) => self.nothing(),
                state::State::Mounted { root } => self.meet(keep::path(&root)).await,
            }
            if state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn nothing(&self) {
        self.0.now.send_if_modified(|now| {
            let unknown = matches!(now, Now::Unknown);
            if unknown {
                *now = Now::None;
            }
            unknown
        });
    }

    /// Brings memory and STATE together: what is in memory is newer.
    async fn meet(&self, path: PathBuf) {
        let _turn = self.0.turn.lock().await;
        let now = self.0.now.borrow().clone();
        if let Now::Held(held) = now {
            if let Err(error) = blocking::run(move || keep::save(&path, &held)).await {
                tracing::error!("the identity is lost with the next boot: {}", chain(&error));
            }
            return;
        }
        match blocking::run(move || keep::load(&path)).await {
            Ok(Some(held)) => drop(self.0.now.send_replace(Now::Held(Arc::new(held)))),
            Ok(None) => self.nothing(),
            Err(error) => {
                tracing::error!("the identity is made anew: {}", chain(&error));
                self.nothing();
            }
        }
    }

    /// Says which names the certificate should have: from `controllers::pki`.
    pub fn put_names(&self, names: Vec<String>) {
        self.0.names.send_if_modified(|now| {
            let changed = *now != names;
            *now = names;
            changed
        });
    }

    /// The request for a certificate with the names that the machine has now. The same key until a certificate for it is
    /// installed.
    pub async fn request(&self) -> Result<Request, Error> {
        let names = self.0.names.borrow().clone();
        self.request_for(names).await
    }

    /// The same for other names: those of a certificate that is to be renewed.
    pub async fn request_for(&self, mut names: Vec<String>) -> Result<Request, Error> {
        let _turn = self.0.turn.lock().await;
        let key = match self.pending().await {
            Some(key) => key,
            None => {
                let key = Key::make()?;
                let (path, der) = (self.0.pending.clone(), key.der());
                blocking::run(move || crate::file::replace(&path, &der, 0o600))
                    .await
                    .map_err(|source| Error::State { path: self.0.pending.clone(), source })?;
                key
            }
        };
        names.truncate(NAMES);
        let common_name = names.first().cloned().unwrap_or_else(|| "stele".into());
        Ok(key.request(&common_name.chars().take(64).collect::<String>(), &names)?)
    }

    async fn pending(&self) -> Option<Key> {
        let path = self.0.pending.clone();
        let der = blocking::run(move || std::fs::read(path)).await.ok()?;
        Key::from_der(&zeroize::Zeroizing::new(der)).ok()
    }

    /// Whether this chain (PEM, own certificate first) answers the request: before anything else of the same call is done.
    pub async fn check(&self, chain: &str) -> Result<(), Error> {
        let _turn = self.0.turn.lock().await;
        self.fit(chain).await.map(drop)
    }

    /// Takes the chain (PEM, own certificate first): shown from now on, and durable when this returns if there is a STATE.
    pub async fn install(&self, chain: &str) -> Result<Arc<Held>, Error> {
        let _turn = self.0.turn.lock().await;
        let held = self.fit(chain).await?;
        let held = Arc::new(held);
        self.keep(&held).await?;
        self.0.now.send_replace(Now::Held(held.clone()));
        let path = self.0.pending.clone();
        // Gone already when the same chain comes again.
        let _ = blocking::run(move || std::fs::remove_file(path)).await;
        Ok(held)
    }

    /// Signs for itself with an authority of its own. Shown also when STATE does not keep it: it is made anew at any time.
    pub async fn sign(&self, ca: &Ca, node: &Node) -> Result<Arc<Held>, Error> {
        let _turn = self.0.turn.lock().await;
        let key = Key::make()?;
        let request = key.request("stele", &[])?;
        let node = Node { names: node.names.iter().take(NAMES).cloned().collect(), ttl: node.ttl };
        let chain = vec![ca.sign_node(&request, &node)?, ca.certificate().clone()];
        let held = Arc::new(Held { chain, key });
        if let Err(error) = self.keep(&held).await {
            tracing::warn!("a certificate that is shown is not kept: {}", crate::trace::chain(&error));
        }
        self.0.now.send_replace(Now::Held(held.clone()));
        Ok(held)
    }

    async fn fit(&self, text: &str) -> Result<Held, Error> {
        let chain = Certificate::chain(text)?;
        let own = &chain[0];
        let held = match &*self.0.now.borrow() {
            // The same answer once more.
            Now::Held(held) if own.is_of(&held.key) => Some(Key::from_der(&held.key.der())?),
            _ => None,
        };
        let key = match held {
            Some(key) => key,
            None => self.pending().await.filter(|key| own.is_of(key)).ok_or(Error::OtherKey)?,
        };
        fits(&chain, SystemTime::now(), *self.0.clock_sure.borrow()).map_err(Error::Unfit)?;
        Ok(Held { chain, key })
    }

    /// On STATE, if there is one; what comes before it is written by `follow`.
    async fn keep(&self, held: &Arc<Held>) -> Result<(), Error> {
        let state::State::Mounted { root } = self.0.state.state() else { return Ok(()) };
        let (path, held) = (keep::path(&root), held.clone());
        blocking::run(move || keep::save(&path, &held)).await
    }
}

/// Whether a node can show this chain, own certificate first; why not.
fn fits(chain: &[Certificate], now: SystemTime, clock_sure: bool) -> Result<(), String> {
    let Some(own) = chain.first() else { return Err("there is none".into()) };
    if chain.len() > CHAIN {
        return Err(format!("the chain has {} certificates; at most {CHAIN} are taken", chain.len()));
    }
    if !own.server {
        return Err("it is not one for servers (extended key usage serverAuth)".into());
    }
    if !own.roles().contains(&Role::Node) {
        return Err(format!("it is not a node's: its Organization is not {}", Role::Node.organisation()));
    }
    if own.names.is_empty() {
        return Err("it has neither a name nor an address".into());
    }
    if let Some(at) = chain.windows(2).position(|pair| !pair[0].is_signed_by(&pair[1])) {
        return Err(format!("certificate {} of the chain did not sign the one before it", at + 2));
    }
    // By a clock that nobody has set it may be early or over without being so.
    if clock_sure && own.left(now).is_zero() {
        return Err("it is over already, by this machine's clock".into());
    }
    Ok(())
}

impl Now {
    /// The identity, if there is one.
    pub fn held(&self) -> Option<&Arc<Held>> {
        match self {
            Self::Held(held) => Some(held),
            Self::Unknown | Self::None => None,
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?})", self.chain)
    }
}

#[cfg(test)]
mod tests;
