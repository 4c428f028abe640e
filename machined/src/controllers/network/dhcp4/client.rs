//! The DHCPv4 client of one link (RFC 2131, 4.4) as a pure state machine: time and messages go in, messages come out. No
//! sockets, no clock. `mod.rs` drives it.
//!
//! ```text
//!            carrier, no lease            offer                ack
//!   Off ------------------------> Selecting ----> Requesting ------> Bound
//!    ^ |                           ^  ^   ^  no answer |               | T1
//!    | | carrier, lease            |  |   +------------+               v
//!    | +---------> Rebooting ------+  |                             Renewing --ack--> Bound
//!    |               |         nak    | nak, or the lease is over      | T2
//!    |               |                +--------------------------------+-> Rebinding --ack--> Bound
//!    |               +--ack, or no answer--> Bound
//!    +-- no carrier, from anywhere; the lease stays until it is over
//! ```
//! Invariant: the address of a lease stays until the lease is over, refused, or replaced; whatever else happens. Who has a
//! lease is never in Selecting or Requesting. Asking never ends.

use std::net::Ipv4Addr;

use smoltcp::wire::DhcpMessageType;

use super::lease::Lease;
use super::options;
use super::packet::{Reply, Request};

/// The first repetition comes soon: a switch often starts to forward just after the carrier came.
const FIRST_RETRY_MS: u64 = 1000;
/// The slowest repetition (RFC 2131, 4.1).
const SLOWEST_RETRY_MS: u64 = 64_000;
/// Renewals are not repeated faster than this (RFC 2131, 4.4.5).
const RENEW_RETRY_MS: u64 = 60_000;
/// How often a request is repeated before the client starts over.
const TRIES: u32 = 4;
/// After a refusal; a broken server must not be asked in a tight circle.
const REFUSED_MS: u64 = 2000;
/// For a server that names no time, which the RFC forbids.
const DEFAULT_LEASE_S: u32 = 3600;
/// Leases are renewed no sooner, however short they are: a server's mistake must not keep a link busy.
const SOONEST_RENEWAL_MS: u64 = 1000;
/// Means for ever (RFC 2131, 3.3).
const FOREVER: u32 = u32::MAX;

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody on the link, by the packet socket.
    Everybody,
    /// The server of the lease, by an ordinary socket of the leased address.
    Server(Ipv4Addr),
}

/// A message to send.
pub type Send = (To, Request);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Selecting,
    Requesting { server: Ipv4Addr, address: Ipv4Addr },
    Rebooting,
    Bound,
    Renewing,
    Rebinding,
}

/// Random numbers: transaction ids and jitter. Need not be secret.
pub type Random = Box<dyn FnMut() -> u32 + std::marker::Send>;

/// The client of one link.
pub struct Client {
    mac: [u8; 6],
    hostname: String,
    random: Random,
    state: State,
    lease: Option<Lease>,
    /// When it does something next.
    next: Option<u64>,
    xid: u32,
    tries: u32,
    /// When it began to ask for what it asks for now.
    since: u64,
    /// What the last DISCOVER said of how long it asks: the request for the offer says the same (RFC 2131, 3.1, point 3).
    secs: u16,
}

impl Client {
    /// A client that goes on with a lease when it is one of this card and not over.
    pub fn new(mac: [u8; 6], hostname: String, lease: Option<Lease>, now: u64, random: Random) -> Self {
        let lease = lease.filter(|lease| lease.mac == mac && !lease.expired(now));
        Self { mac, hostname, random, state: State::Off, lease, next: None, xid: 0, tries: 0, since: now, secs: 0 }
    }

    /// The machine's name, told with the next message.
    pub fn name(&mut self, hostname: &str) {
        if self.hostname != hostname {
            hostname.clone_into(&mut self.hostname);
        }
    }

    /// The lease whose address the link has.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// When `tick` wants to be called.
    pub fn next(&self) -> Option<u64> {
        let over = self.lease.as_ref().and_then(|lease| Some(lease.since_ms.saturating_add(lease.expire_ms?)));
        [self.next, over].into_iter().flatten().min()
    }

    /// Since when it has asked in vain, with at least one repetition; none while all is well, or as long as there is a lease.
    pub fn asking_since(&self) -> Option<u64> {
        let asks = matches!(self.state, State::Selecting | State::Requesting { .. });
        (asks && self.tries > 0).then_some(self.since)
    }

    /// The cable. Coming back, the lease is confirmed: the link may be in another network now.
    pub fn carrier(&mut self, now: u64, carrier: bool) {
        match (carrier, self.state) {
            (false, _) => {
                self.state = State::Off;
                self.next = None;
            }
            (true, State::Off) if self.lease.is_some() => self.enter(State::Rebooting, now, now),
            (true, State::Off) => self.enter(State::Selecting, now, now),
            (true, _) => {}
        }
    }

    fn enter(&mut self, state: State, now: u64, next: u64) {
        self.state = state;
        self.tries = 0;
        self.since = now;
        self.xid = (self.random)();
        self.next = Some(next);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: u64) -> Option<Send> {
        if self.lease.as_ref().is_some_and(|lease| lease.expired(now)) {
            self.lose(now, now);
        }
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        match self.state {
            State::Off => None,
            State::Selecting => Some(self.discover(now)),
            State::Requesting { .. } if self.tries >= TRIES => {
                self.enter(State::Selecting, now, now);
                Some(self.discover(now))
            }
            // No server says no, so the lease counts to its end (RFC 2131, 3.2, point 4).
            State::Rebooting if self.tries >= TRIES => {
                self.bind();
                self.tick(now)
            }
            State::Requesting { server, address } => {
                self.retry_later(now);
                let request = self.request(now, Some(address), Some(server));
                Some((To::Everybody, Request { secs: self.secs, ..request }))
            }
            State::Rebooting => {
                self.retry_later(now);
                let address = self.lease.as_ref().map(|lease| lease.address.addr());
                Some((To::Everybody, self.request(now, address, None)))
            }
            State::Bound | State::Renewing | State::Rebinding => self.renew(now),
        }
    }

    /// Goes by the times of the lease.
    fn bind(&mut self) {
        self.state = State::Bound;
        self.tries = 0;
        let finite = self.lease.as_ref().filter(|lease| lease.expire_ms.is_some());
        self.next = finite.map(|lease| lease.since_ms.saturating_add(lease.renew_ms));
    }

    fn renew(&mut self, now: u64) -> Option<Send> {
        let lease = self.lease.as_ref()?;
        let rebind = lease.since_ms.saturating_add(lease.rebind_ms);
        let over = lease.since_ms.saturating_add(lease.expire_ms?);
        let (state, to, end) = if now < rebind {
            (State::Renewing, To::Server(lease.server), rebind)
        } else {
            (State::Rebinding, To::Everybody, over)
        };
        let address = lease.address.addr();
        if self.state != state {
            self.enter(state, now, now);
        }
        self.next = Some((now + (end.saturating_sub(now) / 2).max(RENEW_RETRY_MS)).min(end.max(now + 1000)));
        let mut request = self.request(now, None, None);
        request.client = address;
        Some((to, request))
    }

    /// An answer. Returns what to say to it.
    pub fn receive(&mut self, now: u64, reply: &Reply) -> Option<Send> {
        if reply.xid != self.xid || reply.mac != self.mac {
            return None;
        }
        match (reply.kind, self.state) {
            (DhcpMessageType::Offer, State::Selecting) => {
                let (server, network) = (reply.server()?, reply.network()?);
                let xid = self.xid;
                self.enter(State::Requesting { server, address: network.addr() }, now, now);
                // The request belongs to the offer (RFC 2131, 4.4.1).
                self.xid = xid;
                self.tick(now)
            }
            (DhcpMessageType::Ack, State::Off | State::Bound | State::Selecting) => None,
            (DhcpMessageType::Ack, _) => {
                self.lease = Some(self.leased(reply)?);
                self.bind();
                None
            }
            (DhcpMessageType::Nak, State::Requesting { server, .. }) if reply.server() != Some(server) => None,
            (
                DhcpMessageType::Nak,
                State::Requesting { .. } | State::Rebooting | State::Renewing | State::Rebinding,
            ) => {
                self.lose(now, now + REFUSED_MS);
                None
            }
            _ => None,
        }
    }

    fn lose(&mut self, now: u64, next: u64) {
        self.lease = None;
        if self.state != State::Off {
            self.enter(State::Selecting, now, next);
        }
    }

    fn discover(&mut self, now: u64) -> Send {
        self.retry_later(now);
        let mut request = self.request(now, None, None);
        request.kind = DhcpMessageType::Discover;
        self.secs = request.secs;
        (To::Everybody, request)
    }

    /// Doubles up to the slowest, a quarter more or less by chance, so that a room of machines does not ask in step.
    fn retry_later(&mut self, now: u64) {
        let delay = (FIRST_RETRY_MS << self.tries.min(10)).min(SLOWEST_RETRY_MS);
        let jitter = u64::from((self.random)()) % (delay / 2);
        self.tries = self.tries.saturating_add(1);
        self.next = Some(now + delay - delay / 4 + jitter);
    }

    fn request(&self, now: u64, wanted: Option<Ipv4Addr>, server: Option<Ipv4Addr>) -> Request {
        Request {
            kind: DhcpMessageType::Request,
            xid: self.xid,
            secs: u16::try_from(now.saturating_sub(self.since) / 1000).unwrap_or(u16::MAX),
            mac: self.mac,
            client: Ipv4Addr::UNSPECIFIED,
            wanted,
            server,
            hostname: self.hostname.clone(),
        }
    }

    fn leased(&self, reply: &Reply) -> Option<Lease> {
        let get = |code: u8| reply.options.get(&code).map(Vec::as_slice).unwrap_or_default();
        let address = reply.network()?;
        // A lease of no time is none.
        let seconds = options::number(get(51)).unwrap_or(DEFAULT_LEASE_S);
        let seconds = Some(seconds).filter(|seconds| *seconds > 0)?;
        let length = u64::from(seconds) * 1000;
        let part = |code: u8, default: u64| {
            let named = options::number(get(code)).map(|seconds| u64::from(seconds) * 1000);
            named.filter(|ms| *ms > 0 && *ms < length).unwrap_or(default)
        };
        let rebind_ms = part(59, length / 8 * 7);
        let routes = options::routes(get(121)).filter(|routes| !routes.is_empty()).unwrap_or_else(|| {
            let everywhere = ipnet::Ipv4Net::default();
            options::addresses(get(3)).take(1).map(|router| (everywhere, Some(router))).collect()
        });
        let mut search = options::domains(get(119));
        if search.is_empty() {
            search.extend(options::domain(get(15)));
        }
        Some(Lease {
            mac: self.mac,
            address,
            server: reply.server().or_else(|| self.lease.as_ref().map(|lease| lease.server))?,
            routes,
            servers: options::addresses(get(6)).collect(),
            search,
            time_servers: options::addresses(get(42)).collect(),
            mtu: options::short(get(26)),
            since_ms: self.since,
            renew_ms: part(58, length / 2).min(rebind_ms).max(SOONEST_RENEWAL_MS),
            rebind_ms,
            expire_ms: (seconds != FOREVER).then_some(length),
        })
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
