//! Leases by DHCPv4: one client for each link whose spec wants it. The client decides (`client`), this drives it with
//! sockets and the clock, keeps leases, and says what they mean as `link-config`.
//!
//! Invariant: the first report of a new machined holds the leases of the one before, so that their addresses stay.

pub mod client;
pub mod lease;
pub mod options;
pub mod packet;
pub mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::select_all;
use reconcile::{Controller, Cycle, CycleError, Next, Object, Ports};
use tokio::sync::watch;

use crate::events::Events;
use crate::identity;
use crate::resources::link::Link;
use crate::resources::link_config::{LinkConfig, LinkSpec, NetworkSource, Source};
use crate::resources::resolver::ResolverSpec;
use crate::resources::wait::{For, Wait};

use self::client::{Client, Random, Send as Message, To};
use self::lease::{Lease, Leases};
use self::packet::Reply;
use self::wire::Wire;

/// A client never has more to say at once than an answer and what is due.
const MESSAGES_AT_ONCE: usize = 4;

/// Before a socket that could not be opened is tried again, in milliseconds: what is missing (memory, a link that is being
/// renamed) comes in a moment or takes long.
const REOPEN_MS: u64 = 1000;

/// The longest such pause.
const REOPEN_MOST_MS: u64 = 30_000;

/// What the controller is given.
pub struct Setup {
    /// Where leases are kept.
    pub leases: Leases,
    /// Who the machine is: its name is told to servers.
    pub identity: watch::Receiver<identity::Machine>,
    /// For people.
    pub events: Events,
    /// Milliseconds since the kernel started.
    pub now: fn() -> u64,
    /// Makes the random numbers of one client.
    pub random: fn() -> Random,
}

struct Session<W> {
    index: u32,
    mac: [u8; 6],
    /// Losses of the cable that the client knows of.
    losses: u32,
    client: Client,
    wire: Option<W>,
    /// Why there is no socket, which is no other link's concern.
    shut: Option<Shut>,
    /// As it is in the file and was told to people.
    kept: Option<Lease>,
}

/// A socket that could not be opened.
struct Shut {
    why: String,
    /// When to try again.
    at: u64,
    pause: u64,
}

/// `network/dhcp4`.
pub struct Dhcp4<W> {
    setup: Setup,
    sessions: BTreeMap<String, Session<W>>,
}

impl<W: Wire> Dhcp4<W> {
    /// Without clients yet.
    pub fn new(setup: Setup) -> Self {
        Self { setup, sessions: BTreeMap::new() }
    }

    /// One session for each link that is asked for, and no other; a card that was swapped is another link.
    fn ensure_sessions(&mut self, wanted: &[&Object<Link>], now: u64) {
        self.sessions.retain(|name, session| {
            wanted.iter().any(|link| {
                link.id == *name && link.value.index == session.index && mac(&link.value) == Some(session.mac)
            })
        });
        for link in wanted {
            let Some(mac) = mac(&link.value) else { continue };
            if !self.sessions.contains_key(&link.id) {
                let kept = self.setup.leases.load(&link.id);
                let random = (self.setup.random)();
                let hostname = self.setup.identity.borrow().hostname.clone();
                let client = Client::new(mac, hostname, kept.clone(), now, random);
                let (index, losses) = (link.value.index, link.value.carrier_losses);
                let session = Session { index, mac, losses, client, wire: None, shut: None, kept };
                self.sessions.insert(link.id.clone(), session);
            }
        }
    }

    fn keep(setup: &Setup, link: &str, session: &mut Session<W>) {
        let lease = session.client.lease().cloned();
        if lease == session.kept {
            return;
        }
        let written = match &lease {
            Some(lease) => setup.leases.save(link, lease),
            None => setup.leases.remove(link),
        };
        if let Err(error) = written {
            tracing::warn!("network: cannot keep the lease of {link} in {}: {error}", setup.leases.folder().display());
        }
        match (&session.kept, &lease) {
            (Some(old), Some(new)) if old.address == new.address => tracing::debug!("{link}: lease renewed"),
            (_, Some(new)) => {
                setup.events.info("network", format!("{link}: DHCP server {} leased {}", new.server, new.address));
            }
            (Some(old), None) => setup.events.warn("network", format!("{link}: the lease of {} ended", old.address)),
            (None, None) => {}
        }
        session.kept = lease;
    }
}

fn mac(link: &Link) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = link.mac.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

impl<W: Wire> Session<W> {
    /// Brings the client up to now: cable, answers, time.
    fn step(&mut self, link: &Link, now: u64) {
        let carrier = link.up && link.carrier;
        // Lost and back before anybody looked: it may be another cable.
        if self.losses != link.carrier_losses {
            self.losses = link.carrier_losses;
            self.client.carrier(now, false);
        }
        if !carrier {
            self.shut = None;
        }
        if carrier && self.wire.is_none() && self.shut.as_ref().is_none_or(|shut| now >= shut.at) {
            self.open(now);
        }
        self.client.carrier(now, carrier);
        let mut replies = Vec::new();
        if let Some(wire) = &self.wire {
            wire.drain(|packet| replies.extend(Reply::parse(packet)));
        }
        for reply in replies {
            let answer = self.client.receive(now, &reply);
            self.send(answer);
        }
        for _ in 0..MESSAGES_AT_ONCE {
            let message = self.client.tick(now);
            if message.is_none() {
                break;
            }
            self.send(message);
        }
    }

    /// Without a socket the client goes on as if nobody answered.
    fn open(&mut self, now: u64) {
        match W::open(self.index) {
            Ok(wire) => (self.wire, self.shut) = (Some(wire), None),
            Err(error) => {
                let pause = self.shut.take().map_or(REOPEN_MS, |shut| (shut.pause * 2).min(REOPEN_MOST_MS));
                let why = format!("no socket for DHCP: {error}");
                self.shut = Some(Shut { why, at: now.saturating_add(pause), pause });
            }
        }
    }

    /// When there is something to do without any news.
    fn next(&self) -> Option<u64> {
        [self.client.next(), self.shut.as_ref().map(|shut| shut.at)].into_iter().flatten().min()
    }

    /// What cannot be sent is as good as lost on the way: the client repeats it.
    fn send(&self, message: Option<Message>) {
        let (Some(wire), Some((to, request))) = (&self.wire, message) else { return };
        let sent = match to {
            To::Everybody => wire.broadcast(&request.packet()),
            To::Server(server) => wire.unicast(request.client, server, &request.message()),
        };
        if let Err(error) = sent {
            tracing::debug!("network: cannot send a DHCP message: {error}");
        }
    }
}

impl<W: Wire> Controller for Dhcp4<W> {
    const NAME: &'static str = "network/dhcp4";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Link>();
        ports.watch::<LinkSpec>();
        ports.watch::<ResolverSpec>();
        ports.share::<LinkConfig>();
        ports.share::<NetworkSource>();
        ports.share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let links = cx.list::<Link>()?;
        if links.is_empty() {
            return Ok(Next::Unready);
        }
        // Before the first merge there are no specs; then every link with a kept lease goes on with it.
        let merged = cx.get::<ResolverSpec>(ResolverSpec::ID)?.is_some();
        let specs: BTreeMap<String, bool> =
            cx.list::<LinkSpec>()?.into_iter().map(|spec| (spec.id, spec.value.dhcp4)).collect();
        let wanted: Vec<_> = links
            .iter()
            .filter(|link| {
                if merged {
                    specs.get(&link.id) == Some(&true)
                } else {
                    self.setup.leases.load::<Lease>(&link.id).is_some()
                }
            })
            .collect();
        let now = (self.setup.now)();
        self.ensure_sessions(&wanted, now);
        for link in wanted {
            let Some(session) = self.sessions.get_mut(&link.id) else { continue };
            session.client.name(&self.setup.identity.borrow().hostname);
            let before = session.shut.as_ref().map(|shut| shut.why.clone());
            session.step(&link.value, now);
            if let Some(shut) = session.shut.as_ref().filter(|shut| before.as_ref() != Some(&shut.why)) {
                self.setup.events.warn("network", format!("{}: {}", link.id, shut.why));
            }
            Self::keep(&self.setup, &link.id, session);
            if let Some(lease) = session.client.lease() {
                let config = lease.config(&link.id);
                cx.put(config.id(), config)?;
            }
            if let Some(since_uptime_ms) = session.client.asking_since() {
                let lease = For::Lease(&link.id);
                let reason = match &session.shut {
                    Some(shut) => format!("{}: {}", link.id, shut.why),
                    None => format!("no DHCP answer on {} yet", link.id),
                };
                cx.put(lease.id(), lease.wait(reason, since_uptime_ms))?;
            }
        }
        // Last: see `NetworkSource`.
        cx.put(Source::Dhcp4.name(), NetworkSource { links: self.sessions.len(), ..NetworkSource::default() })?;
        let next = self.sessions.values().filter_map(Session::next).min();
        Ok(next.map_or(Next::OnChange, |at| Next::After(Duration::from_millis(at.saturating_sub(now).max(1)))))
    }

    async fn wake(&mut self) {
        let wires = self.sessions.values().filter_map(|session| session.wire.as_ref());
        let readable: Vec<_> = wires.map(|wire| Box::pin(wire.readable())).collect();
        if readable.is_empty() {
            return std::future::pending().await;
        }
        select_all(readable).await;
    }
}

#[cfg(test)]
#[path = "dhcp4_tests.rs"]
mod tests;
