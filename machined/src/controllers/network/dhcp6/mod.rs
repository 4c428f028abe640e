//! Leases by DHCPv6, beside what routers announce: one client for each link whose spec wants it. The client decides
//! (`client`), this drives it with sockets and the clock, keeps leases, and says what they mean as `link-config`.
//!
//! Invariant: the first report of a new machined holds the leases of the one before, so that their addresses stay.

pub mod client;
pub mod lease;
pub mod message;
pub mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use futures_util::future::select_all;
use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use sha2::{Digest, Sha256};

use crate::resources::address::{Address, AddressScope};
use crate::resources::link::Link;
use crate::resources::link_config::{LinkConfig, LinkSpec, NetworkSource, Source};
use crate::resources::resolver::ResolverSpec;
use crate::resources::wait::{For, Wait};

use super::dhcp4::Setup;

use self::client::Client;
use self::lease::Lease;
use self::message::Message;
use self::wire::Wire;

/// A client never has more to say at once than an answer and what is due.
const MESSAGES_AT_ONCE: usize = 4;
/// Before a socket that could not be opened is tried again, in milliseconds.
const REOPEN_MS: u64 = 2000;
/// DUID-UUID (RFC 6355): the machine's name for itself is the machine id, on each link and for ever.
const DUID_UUID: [u8; 2] = [0, 4];

struct Session<W> {
    index: u32,
    id: Vec<u8>,
    /// Losses of the cable that the client knows of.
    losses: u32,
    client: Client,
    /// With the link-local address it is bound to.
    wire: Option<(Ipv6Addr, W)>,
    /// Why there is no socket, and when to try again.
    shut: Option<(String, u64)>,
    /// As it is in the file and was told to people.
    kept: Option<Lease>,
}

/// `network/dhcp6`.
pub struct Dhcp6<W> {
    setup: Setup,
    sessions: BTreeMap<String, Session<W>>,
}

/// The number of a link's address (IAID): of its name, because the hardware address of a bond changes with its ports.
fn association(link: &str) -> u32 {
    let digest = Sha256::digest(link.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

fn duid(machine_id: &str) -> Option<Vec<u8>> {
    let uuid = u128::from_str_radix(machine_id, 16).ok().filter(|_| machine_id.len() == 32)?;
    Some([&DUID_UUID[..], &uuid.to_be_bytes()].concat())
}

/// The link's own address, which the kernel makes; none while it is not sure that nobody else has it.
fn local(link: &str, addresses: &[Address]) -> Option<Ipv6Addr> {
    addresses.iter().find_map(|found| match found.address.addr() {
        IpAddr::V6(address) if found.link == link && found.scope == AddressScope::Link && !found.tentative => {
            Some(address)
        }
        _ => None,
    })
}

impl<W: Wire> Dhcp6<W> {
    /// Without clients yet.
    pub fn new(setup: Setup) -> Self {
        Self { setup, sessions: BTreeMap::new() }
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
            (Some(old), Some(new)) if old.address == new.address => tracing::debug!("{link}: IPv6 lease renewed"),
            (_, Some(new)) => setup.events.info("network", format!("{link}: a DHCPv6 server leased {}", new.address)),
            (Some(old), None) => setup.events.warn("network", format!("{link}: the lease of {} ended", old.address)),
            (None, None) => {}
        }
        session.kept = lease;
    }

    /// The session of a link; a card or a machine that is another one now begins anew.
    fn session(&mut self, name: &str, link: &Link, id: &[u8], now: u64) -> &mut Session<W> {
        if self.sessions.get(name).is_some_and(|session| session.index != link.index || session.id != id) {
            self.sessions.remove(name);
        }
        let setup = &self.setup;
        self.sessions.entry(name.to_owned()).or_insert_with(|| {
            let kept = setup.leases.load(name);
            let client = Client::new(id.to_vec(), association(name), kept.clone(), now, (setup.random)());
            let (index, losses) = (link.index, link.carrier_losses);
            Session { index, id: id.to_vec(), losses, client, wire: None, shut: None, kept }
        })
    }
}

impl<W: Wire> Session<W> {
    /// Brings the client up to now: network, answers, time. `local` is none while the link cannot be used.
    fn step(&mut self, link: &Link, local: Option<Ipv6Addr>, now: u64) {
        // Lost and back before anybody looked: it may be another cable.
        if self.losses != link.carrier_losses {
            self.losses = link.carrier_losses;
            self.client.network(now, false);
        }
        if self.wire.as_ref().is_some_and(|(bound, _)| Some(*bound) != local) {
            self.wire = None;
        }
        if let (Some(local), None) = (local, &self.wire)
            && self.shut.as_ref().is_none_or(|(_, at)| now >= *at)
        {
            match W::open(self.index, local) {
                Ok(wire) => (self.wire, self.shut) = (Some((local, wire)), None),
                Err(error) => self.shut = Some((format!("no socket for DHCPv6: {error}"), now + REOPEN_MS)),
            }
        }
        self.client.network(now, self.wire.is_some());
        let mut answers = Vec::new();
        if let Some((_, wire)) = &self.wire {
            wire.drain(|bytes| answers.extend(Message::parse(bytes)));
        }
        for answer in answers {
            let message = self.client.receive(now, &answer);
            self.send(message);
        }
        for _ in 0..MESSAGES_AT_ONCE {
            let message = self.client.tick(now);
            if message.is_none() {
                break;
            }
            self.send(message);
        }
    }

    /// What cannot be sent is as good as lost on the way: the client repeats it.
    fn send(&self, message: Option<Message>) {
        if let (Some((_, wire)), Some(message)) = (&self.wire, message)
            && let Err(error) = wire.send(&message.format())
        {
            tracing::debug!("network: cannot send a DHCPv6 message: {error}");
        }
    }

    /// When there is something to do without any news.
    fn next(&self) -> Option<u64> {
        [self.client.next(), self.shut.as_ref().map(|(_, at)| *at)].into_iter().flatten().min()
    }

    /// What people are told while it is asked for.
    fn reason(&self, link: &str) -> String {
        match &self.shut {
            Some((why, _)) => format!("{link}: {why}"),
            None => format!("no DHCPv6 answer on {link} yet"),
        }
    }
}

impl<W: Wire> Controller for Dhcp6<W> {
    const NAME: &'static str = "network/dhcp6";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Link>();
        ports.watch::<Address>();
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
        // Known from the start on; should it not be, nobody waits for this source.
        let id = duid(&self.setup.identity.borrow().machine_id).unwrap_or_default();
        let addresses: Vec<Address> = cx.list::<Address>()?.iter().map(|found| (*found.value).clone()).collect();
        // Before the first merge there are no specs; then every link with a kept lease goes on with it.
        let merged = cx.get::<ResolverSpec>(ResolverSpec::ID)?.is_some();
        let now = (self.setup.now)();
        let mut wanted = Vec::new();
        for link in &links {
            let spec = cx.get::<LinkSpec>(&link.id)?;
            let asked = if merged {
                spec.is_some_and(|spec| spec.value.dhcp6)
            } else {
                self.setup.leases.load::<Lease>(&link.id).is_some()
            };
            if asked && !id.is_empty() {
                wanted.push(link);
            }
        }
        self.sessions.retain(|name, _| wanted.iter().any(|link| link.id == *name));
        for link in wanted {
            let name = &link.id;
            let usable = link.value.up && link.value.carrier;
            let local = local(name, &addresses).filter(|_| usable);
            let session = self.session(name, &link.value, &id, now);
            session.step(&link.value, local, now);
            let asking = session.client.asking_since().map(|since| (since, session.reason(name)));
            if let Some(lease) = session.client.lease() {
                let config = lease.config(name);
                cx.put(config.id(), config)?;
            }
            if let Some((since_uptime_ms, reason)) = asking {
                let lease = For::Lease6(name);
                cx.put(lease.id(), lease.wait(reason, since_uptime_ms))?;
            }
            if let Some(session) = self.sessions.get_mut(name) {
                Self::keep(&self.setup, name, session);
            }
        }
        // Last: see `NetworkSource`.
        cx.put(Source::Dhcp6.name(), NetworkSource { links: self.sessions.len(), ..NetworkSource::default() })?;
        let next = self.sessions.values().filter_map(Session::next).min();
        Ok(next.map_or(Next::OnChange, |at| Next::After(Duration::from_millis(at.saturating_sub(now).max(1)))))
    }

    async fn wake(&mut self) {
        let wires = self.sessions.values().filter_map(|session| session.wire.as_ref());
        let readable: Vec<_> = wires.map(|(_, wire)| Box::pin(wire.readable())).collect();
        if readable.is_empty() {
            return std::future::pending().await;
        }
        select_all(readable).await;
    }
}
