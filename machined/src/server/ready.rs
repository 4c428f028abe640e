//! Whether the API answers: machined asks itself, through the gateway, with the fingerprint a client would pin.
//!
//! Invariant: "ready" is said only after the whole path has answered (TCP, TLS, gateway, preamble, HTTP/2, health). What
//! it waits for is shown as condition and wait `api` for as long as it lasts, again after every restart of the gateway. A
//! gateway that hangs later is noticed and started again. Run by `boot`, beside `Server::run`.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use api::{
    connect::{Connector, Pin},
    endpoint::Endpoint,
    fingerprint::Fingerprint,
};
use reconcile::{ClaimError, Object, SharedWriter, Store};
use tokio::{sync::watch, time::timeout};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::keys::{Delivered, Offer};
use crate::{
    pki::own::Own,
    resources::{
        Condition,
        address::{Address, AddressScope},
        link::{Link, LinkKind},
        wait::{For, Wait},
    },
};

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(5);

/// First pause between attempts: the gateway listens before it has keys, so the first attempt usually succeeds.
const SOON: Duration = Duration::from_millis(20);

/// Longest pause.
const LATE: Duration = Duration::from_secs(1);

/// How often a gateway that has answered is asked again: a handshake costs a millisecond.
const AGAIN: Duration = Duration::from_secs(30);

/// So many attempts without any answer, one after the other, are a gateway that hangs, and not a machine that is busy.
const HANGS: u32 = 3;

/// The condition.
const ID: &str = Condition::API;

const OWNER: &str = "server";

/// When the API answered for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Since the kernel started.
    pub uptime_ns: u64,
    /// The processor's raw counter.
    pub tsc: u64,
}

/// Asks and tells.
#[derive(Debug)]
pub struct Probe {
    address: Endpoint,
    offer: watch::Receiver<Offer>,
    own: Own,
    delivered: watch::Receiver<Delivered>,
    conditions: SharedWriter<Condition>,
    waits: SharedWriter<Wait>,
    /// See `ATTEMPT` and `AGAIN`; fields for tests.
    pub(super) attempt: Duration,
    pub(super) again: Duration,
}

/// Why the API does not answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no connection through the gateway")]
    Connect(#[from] api::connect::Error),
    #[error("no answer through the gateway")]
    Call(#[from] tonic::Status),
    #[error("no answer through the gateway within {0:?}")]
    Slow(Duration),
    #[error("the API says that it does not serve")]
    NotServing,
    #[error("the API is closed")]
    Closed,
}

impl Error {
    /// Whether nobody answers at all. Who is refused (too many clients, the machine stops) is answered.
    fn is_silence(&self) -> bool {
        matches!(self, Self::Slow(_) | Self::Connect(api::connect::Error::Timeout { .. }))
    }
}

impl Probe {
    /// Asks `address`, which is the gateway's port on the loopback interface.
    pub fn new(
        store: &Store,
        address: Endpoint,
        offer: watch::Receiver<Offer>,
        own: Own,
        delivered: watch::Receiver<Delivered>,
    ) -> Result<Self, ClaimError> {
        let (conditions, waits) = (store.shared_writer(OWNER)?, store.shared_writer(OWNER)?);
        let probe = Self { address, offer, own, delivered, conditions, waits, attempt: ATTEMPT, again: AGAIN };
        probe.unmet(&probe.delivered.borrow().trouble().unwrap_or_default(), sys::tsc::uptime_ns());
        Ok(probe)
    }

    /// For ever; calls `first` when the API has answered for the first time, and `restart` when the gateway hangs.
    pub async fn run<F: Future<Output = ()>>(self, first: impl FnOnce(Stamp), restart: impl Fn() -> F) {
        let mut first = Some(first);
        let mut delivered = self.delivered.clone();
        let mut since = sys::tsc::uptime_ns();
        loop {
            let trouble = delivered.borrow_and_update().trouble();
            if let Some(trouble) = trouble {
                self.unmet(&trouble, since);
                if delivered.changed().await.is_err() {
                    return;
                }
                continue;
            }
            tokio::select! {
                () = self.until_answered(since) => {}
                changed = delivered.changed() => if changed.is_err() { return } else { continue },
            }
            let stamp = Stamp { uptime_ns: sys::tsc::uptime_ns(), tsc: sys::tsc() };
            tracing::info!(uptime_ms = stamp.uptime_ns / 1_000_000, "the API answers");
            if let Some(first) = first.take() {
                first(stamp);
            }
            self.met();
            let hung = tokio::select! {
                // Cancel-safe: it only looks.
                gone = delivered.wait_for(|now| *now != Delivered::Used) => match gone {
                    Ok(_) => None,
                    Err(_) => return,
                },
                error = self.until_silent() => Some(error),
            };
            since = sys::tsc::uptime_ns();
            if let Some(error) = hung {
                let reason = crate::trace::chain(&error);
                tracing::error!(reason, "the gateway hangs: it is started again");
                self.unmet(&reason, since);
                restart().await;
            }
        }
    }

    async fn until_answered(&self, since: u64) {
        let mut pause = SOON;
        while let Err(error) = self.ask().await {
            let reason = crate::trace::chain(&error);
            tracing::debug!(reason, "the API does not answer yet");
            self.unmet(&reason, since);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATE);
        }
    }

    /// Asks now and then, until nobody answers any more.
    async fn until_silent(&self) -> Error {
        let mut silences = 0;
        loop {
            tokio::time::sleep(self.again).await;
            match self.ask().await {
                Err(error) if error.is_silence() => {
                    silences += 1;
                    if silences == HANGS {
                        return error;
                    }
                }
                _ => silences = 0,
            }
        }
    }

    async fn ask(&self) -> Result<(), Error> {
        ask(self.address.clone(), &self.offer, &self.own, self.attempt).await
    }

    fn unmet(&self, reason: &str, since_ns: u64) {
        let wait = For::Api.wait(reason, since_ns / 1_000_000);
        claim(self.conditions.put(ID, Condition::unmet(format!("the API does not answer: {reason}"))));
        claim(self.waits.put(For::Api.id(), wait));
    }

    fn met(&self) {
        claim(self.conditions.put(ID, Condition::met("the API answers")));
        claim(self.waits.remove(For::Api.id()));
    }
}

/// Asks the API for its health at this address, as a client that has what the API wants of its clients.
async fn ask(address: Endpoint, offer: &watch::Receiver<Offer>, own: &Own, within: Duration) -> Result<(), Error> {
    let Offer::Keys(keys) = offer.borrow().clone() else { return Err(Error::Closed) };
    let pins = keys.chain.first().map(|der| Fingerprint::of_der(der)).into_iter().collect();
    // In maintenance nobody is asked for a certificate.
    let client = if keys.accepted.is_empty() { None } else { own.client() };
    let connector = Connector::new(address, Pin::Exact(pins)).client(client);
    let ask = async {
        let mut health = HealthClient::new(connector.connect().await?);
        let answer = health.check(HealthCheckRequest::default()).await?.into_inner();
        if answer.status() == ServingStatus::Serving { Ok(()) } else { Err(Error::NotServing) }
    };
    timeout(within, ask).await.map_err(|_| Error::Slow(within))?
}

/// Asks the API at the address by which others reach this machine. An answer with keys of before counts for nothing: the
/// gateway keeps those when it cannot use new ones.
#[derive(Debug)]
pub struct Reacher {
    store: Store,
    offer: watch::Receiver<Offer>,
    own: Own,
    /// Known once there is a server.
    delivered: OnceLock<watch::Receiver<Delivered>>,
}

impl Reacher {
    /// As a client that has what `offer` wants.
    pub fn new(store: Store, offer: watch::Receiver<Offer>, own: Own) -> Self {
        Self { store, offer, own, delivered: OnceLock::new() }
    }

    /// The server is there, and says what the gateway has.
    pub fn delivered(&self, delivered: watch::Receiver<Delivered>) {
        // Said once, by `boot`.
        let _ = self.delivered.set(delivered);
    }

    /// Why the API does not answer there.
    ///
    /// # Errors
    /// In words.
    pub async fn reach(self: Arc<Self>) -> Result<(), String> {
        let Some(delivered) = self.delivered.get() else { return Err("the API has not started yet".into()) };
        let addresses: Vec<Address> =
            self.store.list().into_iter().map(|found: Object<Address>| (*found.value).clone()).collect();
        let links: Vec<Link> =
            self.store.list().into_iter().map(|found: Object<Link>| (*found.value).clone()).collect();
        let global = |address: &&Address| address.usable() && address.scope == AddressScope::Global;
        let host = match addresses.iter().find(global) {
            Some(address) => address.address.addr().to_string(),
            // A machine without a card is reached by nobody: what can be proven is that it would answer.
            None if links.iter().all(|link| link.kind != LinkKind::Physical) => "127.0.0.1".to_owned(),
            None => return Err("it has no address but link-local ones".into()),
        };
        let endpoint: Endpoint = host.parse().map_err(|error| format!("{host}: {error}"))?;
        ask(endpoint, &self.offer, &self.own, ATTEMPT)
            .await
            .map_err(|error| format!("at {host}: {}", crate::trace::chain(&error)))?;
        delivered.borrow().trouble().map_or(Ok(()), Err)
    }
}

/// Another writer with our id is a bug; it must not end the API.
fn claim(written: Result<(), reconcile::WriteError>) {
    if let Err(error) = written {
        tracing::error!(%error, "the API's condition cannot be shown");
    }
}

/// Says on kernel log and console, once for each boot, when the API first answered: benchmarks read the line. `mark` is a
/// file in /run that tells whether it was said.
pub fn announce(stamp: Stamp, mark: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).open(mark) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        // The boot record reads it, also after a restart of machined.
        opened => writeln!(opened?, "{} {}", stamp.uptime_ns, stamp.tsc)?,
    }
    let line = format!("stele: api ready uptime_ms={} tsc={}", stamp.uptime_ns / 1_000_000, stamp.tsc);
    let kernel = sys::kmsg::Log::open().and_then(|mut log| log.write(sys::kmsg::Level::Info, line.as_bytes()));
    // Without serial port or screen there may be no console; a console that is stopped must not stop us.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.union(rustix::fs::OFlags::NOCTTY).bits()).unwrap_or(0);
    if let Ok(mut console) = fs::OpenOptions::new().write(true).custom_flags(flags).open("/dev/console") {
        let _ = console.write_all(format!("{line}\r\n").as_bytes());
    }
    kernel
}
