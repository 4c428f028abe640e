//! The DHCPv6 client of one link (RFC 8415, 18.2) as a pure state machine: time and messages go in, messages come out. No
//! sockets, no clock. `mod.rs` drives it.
//!
//! ```text
//!            on the network, no lease      advertise            reply
//!   Off --------------------------> Soliciting ----> Requesting ------> Bound
//!    ^ |                              ^  ^   ^  no answer |               | T1
//!    | | on the network, lease        |  |   +------------+               v
//!    | +---------> Confirming --------+  |                             Renewing --reply--> Bound
//!    |               |      not on link  | no binding, or it is over      | T2
//!    |               |                   +--------------------------------+-> Rebinding --reply--> Bound
//!    |               +--reply, or no answer--> Bound
//!    +-- off the network, from anywhere; the lease stays until it is over
//! ```
//! Invariant: the address of a lease stays until the lease is over, refused, or replaced; whatever else happens. Asking never
//! ends. The first server that offers an address gets it: a second one with a higher preference is not waited for.

use super::lease::Lease;
use super::message::{Association, Granted, Kind, Message, Status};

/// All of it: RFC 8415, 7.6.
const FIRST_MS: u64 = 1000;
/// SOL_MAX_RT was 120 s once and is an hour today, for networks without a server; a server that comes back is found sooner
/// with the old one, and a machine that was told to ask shall be there then.
const SOLICIT_MOST_MS: u64 = 120_000;
const REQUEST_MOST_MS: u64 = 30_000;
const REQUEST_TRIES: u32 = 10;
const CONFIRM_MOST_MS: u64 = 4000;
const CONFIRM_MS: u64 = 10_000;
const RENEW_FIRST_MS: u64 = 10_000;
const RENEW_MOST_MS: u64 = 600_000;
/// After a refusal; a broken server must not be asked in a tight circle.
const REFUSED_MS: u64 = 2000;
/// Leases are renewed no sooner, however short they are.
const SOONEST_RENEWAL_MS: u64 = 1000;
/// Means for ever.
const FOREVER: u32 = u32::MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Off,
    Soliciting,
    Requesting { server: Vec<u8>, granted: Option<Granted> },
    Confirming,
    Bound,
    Renewing,
    Rebinding,
}

/// Random numbers: transaction ids and jitter. Need not be secret.
pub type Random = Box<dyn FnMut() -> u32 + std::marker::Send>;

/// The client of one link.
pub struct Client {
    /// Its DUID.
    id: Vec<u8>,
    association: u32,
    random: Random,
    state: State,
    lease: Option<Lease>,
    /// When it does something next.
    next: Option<u64>,
    /// The pause after the last message.
    pause: u64,
    xid: u32,
    tries: u32,
    /// When it began to ask for what it asks for now.
    since: u64,
    /// The longest pause between questions for a server.
    slowest: u64,
}

impl Client {
    /// A client that goes on with a lease when it is one of its own and not over.
    pub fn new(id: Vec<u8>, association: u32, lease: Option<Lease>, now: u64, random: Random) -> Self {
        let ours = |lease: &Lease| lease.client == id && lease.association == association && !lease.expired(now);
        let lease = lease.filter(ours);
        let (state, slowest) = (State::Off, SOLICIT_MOST_MS);
        Self { id, association, random, state, lease, next: None, pause: 0, xid: 0, tries: 0, since: now, slowest }
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
        let asks = matches!(self.state, State::Soliciting | State::Requesting { .. });
        (asks && self.tries > 0).then_some(self.since)
    }

    /// Whether there is a network to ask in. Coming back, the lease is confirmed: it may be another one now.
    pub fn network(&mut self, now: u64, there: bool) {
        match (there, &self.state) {
            (false, _) => {
                self.state = State::Off;
                self.next = None;
            }
            (true, State::Off) if self.lease.is_some() => self.enter(State::Confirming, now, now),
            (true, State::Off) => self.enter(State::Soliciting, now, now),
            (true, _) => {}
        }
    }

    fn enter(&mut self, state: State, now: u64, next: u64) {
        self.state = state;
        self.tries = 0;
        self.since = now;
        self.xid = (self.random)() & 0x00ff_ffff;
        self.next = Some(next);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: u64) -> Option<Message> {
        if self.lease.as_ref().is_some_and(|lease| lease.expired(now)) {
            self.lose(now, now);
        }
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        match self.state.clone() {
            State::Off => None,
            State::Soliciting => {
                self.retry_later(now, FIRST_MS, self.slowest);
                Some(self.ask(Kind::Solicit, now, None, None))
            }
            State::Requesting { .. } if self.tries >= REQUEST_TRIES => {
                self.enter(State::Soliciting, now, now);
                self.tick(now)
            }
            State::Requesting { server, granted } => {
                self.retry_later(now, FIRST_MS, REQUEST_MOST_MS);
                Some(self.ask(Kind::Request, now, Some(server), granted))
            }
            // Nobody says no, so the lease counts to its end (RFC 8415, 18.2.3).
            State::Confirming if now >= self.since.saturating_add(CONFIRM_MS) => {
                self.bind();
                self.tick(now)
            }
            State::Confirming => {
                self.retry_later(now, FIRST_MS, CONFIRM_MOST_MS);
                Some(self.ask(Kind::Confirm, now, None, self.held()))
            }
            State::Bound | State::Renewing | State::Rebinding => self.renew(now),
        }
    }

    /// The address of the lease, as it is asked for.
    fn held(&self) -> Option<Granted> {
        self.lease.as_ref().map(|lease| Granted { address: lease.address, preferred: 0, valid: 0 })
    }

    /// Goes by the times of the lease.
    fn bind(&mut self) {
        self.state = State::Bound;
        self.tries = 0;
        self.next = self.lease.as_ref().and_then(|lease| Some(lease.since_ms.saturating_add(lease.renew_ms?)));
    }

    fn renew(&mut self, now: u64) -> Option<Message> {
        let lease = self.lease.as_ref()?;
        let rebind = lease.since_ms.saturating_add(lease.rebind_ms);
        let renewing = now < rebind;
        let (state, kind) = if renewing { (State::Renewing, Kind::Renew) } else { (State::Rebinding, Kind::Rebind) };
        let server = renewing.then(|| lease.server.clone());
        if self.state != state {
            self.enter(state, now, now);
        }
        self.retry_later(now, RENEW_FIRST_MS, RENEW_MOST_MS);
        if renewing {
            self.next = self.next.map(|next| next.min(rebind));
        }
        Some(self.ask(kind, now, server, self.held()))
    }

    /// An answer. Returns what to say to it.
    pub fn receive(&mut self, now: u64, message: &Message) -> Option<Message> {
        let asked = !matches!(self.state, State::Off | State::Bound);
        if !asked || message.xid != self.xid || message.client != self.id {
            return None;
        }
        let server = message.server.clone()?;
        // It counts also from a server that has no address (RFC 8415, 18.2.9).
        if let (Kind::Advertise | Kind::Reply, Some(seconds)) = (message.kind, message.slowest) {
            self.slowest = u64::from(seconds) * 1000;
        }
        let association = message.association.as_ref().filter(|found| found.id == self.association);
        let fine = |status: Option<Status>| status.is_none_or(|status| status == Status::Success);
        let well = fine(message.status) && association.is_none_or(|found| fine(found.status));
        let granted = association.and_then(|found| found.granted).filter(|granted| well && granted.valid > 0);
        match (message.kind, self.state.clone()) {
            (Kind::Advertise, State::Soliciting) => {
                let granted = granted?;
                self.enter(State::Requesting { server, granted: Some(granted) }, now, now);
                self.tick(now)
            }
            (Kind::Reply, State::Confirming) => {
                if message.status == Some(Status::NotOnLink) {
                    self.lose(now, now);
                    return self.tick(now);
                }
                self.bind();
                None
            }
            (Kind::Reply, State::Requesting { server: chosen, .. }) if chosen != server => None,
            (Kind::Reply, State::Requesting { .. } | State::Renewing | State::Rebinding) => {
                match (granted, association) {
                    (Some(granted), Some(association)) => {
                        self.lease = Some(self.leased(now, message, server, association, granted));
                        self.bind();
                        None
                    }
                    // The server has forgotten: it is asked for the same address (RFC 8415, 18.2.10.1).
                    (None, Some(Association { status: Some(Status::NoBinding), .. })) if self.lease.is_some() => {
                        // A broken one, which knows nothing of what it is asked for: asked again after a pause.
                        if matches!(self.state, State::Requesting { .. }) {
                            return None;
                        }
                        let granted = self.held();
                        self.enter(State::Requesting { server, granted }, now, now);
                        self.tick(now)
                    }
                    // While it is renewed, only a clear word takes the address away. The server failed, or has none, or says
                    // nothing of it: it counts on, and is asked for again (RFC 8415, 18.2.10.1).
                    _ if matches!(self.state, State::Renewing | State::Rebinding) && !self.refuses(message, well) => {
                        None
                    }
                    _ => {
                        self.lose(now, now + REFUSED_MS);
                        None
                    }
                }
            }
            _ => None,
        }
    }

    /// Whether an answer says that the lease's address is no longer good here; one that failed says nothing of it.
    fn refuses(&self, message: &Message, well: bool) -> bool {
        let association = message.association.as_ref().filter(|found| found.id == self.association);
        let held = self.lease.as_ref().map(|lease| lease.address);
        let over = association.and_then(|found| found.granted).filter(|granted| well && granted.valid == 0);
        let statuses = [message.status, association.and_then(|found| found.status)];
        statuses.contains(&Some(Status::NotOnLink)) || over.is_some_and(|granted| Some(granted.address) == held)
    }

    fn lose(&mut self, now: u64, next: u64) {
        self.lease = None;
        if self.state != State::Off {
            self.enter(State::Soliciting, now, next);
        }
    }

    /// Doubles up to the slowest, a tenth more or less by chance (RFC 8415, 15).
    fn retry_later(&mut self, now: u64, first: u64, most: u64) {
        let pause = if self.tries == 0 { first } else { (self.pause * 2).min(most) };
        let jitter = u64::from((self.random)()) % (pause / 5).max(1);
        self.pause = pause;
        self.tries = self.tries.saturating_add(1);
        self.next = Some(now + pause - pause / 10 + jitter);
    }

    fn ask(&self, kind: Kind, now: u64, server: Option<Vec<u8>>, granted: Option<Granted>) -> Message {
        let mut message = Message::ask(kind, self.xid, self.id.clone());
        message.server = server;
        message.association = Some(Association { id: self.association, granted, ..Association::default() });
        message.elapsed = u16::try_from(now.saturating_sub(self.since) / 10).unwrap_or(u16::MAX);
        message
    }

    fn leased(&self, now: u64, message: &Message, server: Vec<u8>, times: &Association, granted: Granted) -> Lease {
        let ms = |seconds: u32| u64::from(seconds) * 1000;
        let part = |named: u32, default: u64| match named {
            0 => default,
            seconds => ms(seconds).min(ms(granted.valid)),
        };
        let endless = granted.valid == FOREVER;
        // An address that is not for new connections is kept as long as it is valid.
        let time = if granted.preferred > 0 { granted.preferred } else { granted.valid };
        let rebind_ms = part(times.t2, ms(time) / 10 * 8).max(SOONEST_RENEWAL_MS);
        let renew_ms = part(times.t1, ms(time) / 2).min(rebind_ms).max(SOONEST_RENEWAL_MS);
        Lease {
            client: self.id.clone(),
            association: self.association,
            server,
            address: granted.address,
            servers: message.servers.clone(),
            search: message.search.clone(),
            since_ms: now,
            renew_ms: (times.t1 != FOREVER && !endless).then_some(renew_ms),
            rebind_ms,
            expire_ms: (!endless).then(|| ms(granted.valid)),
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
