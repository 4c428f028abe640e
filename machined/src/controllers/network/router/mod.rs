//! Name servers and search domains from router announcements. Addresses and routes of announcements are the kernel's work;
//! these it passes on. Kept in a file under /run, because a router says them again only after minutes.
//!
//! A cable that was lost may be in another network now: the kernel asks for routers as soon as it is back, and what they said
//! before counts only until they speak again, or a while.

pub mod option;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use serde::{Deserialize, Serialize};

use crate::resources::link::Link;
use crate::resources::link_config::{LinkConfig, NetworkSource, Source};
use crate::uptime;

use self::option::Announced;
use super::kernel::listen::Listener;

/// No link needs more; a router that floods us fills no memory.
const EACH_MAX: usize = 16;
/// As many announcements are kept while links are not known yet.
const EARLY_MAX: usize = 64;

/// Routers that are asked answer within a second or so, and the kernel asks three times, four seconds apart (RFC 4861, 10).
const DOUBT_MS: u64 = 15_000;

/// What routers said about one link, and until when (milliseconds since the kernel started).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    servers: BTreeMap<Ipv6Addr, u64>,
    search: BTreeMap<String, u64>,
    /// Losses of the cable that are known of.
    #[serde(default)]
    losses: u32,
    /// All of it is from before the cable was lost, and over then.
    #[serde(default)]
    doubt: Option<u64>,
}

impl Said {
    /// The cable was lost so often.
    pub fn lost(&mut self, now: u64, losses: u32) {
        if self.losses != losses {
            self.losses = losses;
            self.doubt = Some(now + DOUBT_MS);
        }
    }

    /// Takes an announcement in.
    pub fn hear(&mut self, now: u64, announced: &Announced) {
        if self.doubt.take().is_some() {
            self.servers.clear();
            self.search.clear();
        }
        let until = match announced.lifetime {
            u32::MAX => u64::MAX,
            seconds => now + u64::from(seconds) * 1000,
        };
        for server in &announced.servers {
            put(&mut self.servers, *server, until, now);
        }
        for domain in &announced.search {
            put(&mut self.search, domain.clone(), until, now);
        }
    }

    /// Forgets what is over; returns when the next is.
    pub fn expire(&mut self, now: u64) -> Option<u64> {
        if self.doubt.is_some_and(|doubt| doubt <= now) {
            *self = Self { losses: self.losses, ..Self::default() };
        }
        self.servers.retain(|_, until| *until > now);
        self.search.retain(|_, until| *until > now);
        let said = self.servers.values().chain(self.search.values()).copied();
        said.chain(self.doubt).filter(|until| *until != u64::MAX).min()
    }

    fn config(&self, link: &str) -> LinkConfig {
        let mut config = LinkConfig::new(Source::Router, link);
        config.servers = self.servers.keys().copied().map(IpAddr::V6).collect();
        config.search = self.search.keys().cloned().collect();
        config
    }
}

fn put<K: Ord>(map: &mut BTreeMap<K, u64>, key: K, until: u64, now: u64) {
    if until <= now {
        map.remove(&key);
    } else if map.len() < EACH_MAX || map.contains_key(&key) {
        map.insert(key, until);
    }
}

/// `network/router`.
pub struct Router {
    listener: Listener,
    path: PathBuf,
    said: BTreeMap<String, Said>,
    early: Vec<Announced>,
}

impl Router {
    /// Goes on with what the file says; one that does not parse is nothing said.
    pub fn new(listener: Listener, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let said = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { listener, path, said, early: Vec::new() }
    }

    fn hear(&mut self) {
        let early = &mut self.early;
        self.listener.drain(|datagram| {
            let room = EARLY_MAX.saturating_sub(early.len());
            early.extend(option::parse(datagram).into_iter().take(room));
        });
    }

    fn save(&self) -> io::Result<()> {
        crate::file::replace(&self.path, &serde_json::to_vec(&self.said)?, 0o644)
    }
}

impl Controller for Router {
    const NAME: &'static str = "network/router";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Link>();
        ports.share::<LinkConfig>();
        ports.share::<NetworkSource>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        self.hear();
        let links = cx.list::<Link>()?;
        if links.is_empty() {
            return Ok(Next::Unready);
        }
        let (now, before) = (uptime::now_ms(), self.said.clone());
        for link in &links {
            if let Some(said) = self.said.get_mut(&link.id) {
                said.lost(now, link.value.carrier_losses);
            }
        }
        for announced in std::mem::take(&mut self.early) {
            if let Some(link) = links.iter().find(|link| link.value.index == announced.link) {
                let losses = link.value.carrier_losses;
                let said = self.said.entry(link.id.clone()).or_insert_with(|| Said { losses, ..Said::default() });
                said.hear(now, &announced);
            }
        }
        self.said.retain(|name, _| links.iter().any(|link| link.id == *name));
        let over = self.said.values_mut().filter_map(|said| said.expire(now)).min();
        if self.said != before
            && let Err(error) = self.save()
        {
            tracing::warn!("network: cannot keep what routers said in {}: {error}", self.path.display());
        }
        for (link, said) in &self.said {
            let config = said.config(link);
            cx.put(config.id(), config)?;
        }
        // Last: see `NetworkSource`.
        cx.put(Source::Router.name(), NetworkSource { links: self.said.len(), ..NetworkSource::default() })?;
        Ok(over.map_or(Next::OnChange, |over| Next::After(Duration::from_millis(over.saturating_sub(now).max(1)))))
    }

    async fn wake(&mut self) {
        self.listener.readable().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_before_the_cable_was_lost_counts_until_routers_speak_again() {
        let (old, new): (Ipv6Addr, Ipv6Addr) = ("fec0::3".parse().unwrap(), "fec0::4".parse().unwrap());
        let announced = |server, search: &[&str]| {
            let search = search.iter().map(|domain| (*domain).to_owned()).collect();
            Announced { link: 2, lifetime: 600, servers: Vec::from_iter(server), search }
        };
        let before = || {
            let mut said = Said::default();
            said.hear(1000, &announced(Some(old), &["old.example"]));
            said.lost(2000, 1);
            assert_eq!(said.config("eth0").servers, [IpAddr::V6(old)], "as long as nobody speaks");
            said
        };
        // Both options of one announcement count.
        let mut said = before();
        said.hear(3000, &announced(Some(new), &[]));
        said.hear(3000, &announced(None, &["new.example"]));
        assert_eq!(
            (said.config("eth0").servers, said.config("eth0").search),
            (vec![IpAddr::V6(new)], vec!["new.example".into()])
        );
        assert_eq!(said.expire(4000), Some(603_000));
        // Nobody speaks.
        let mut said = before();
        assert_eq!(said.expire(3000), Some(2000 + DOUBT_MS));
        assert_eq!(said.expire(2000 + DOUBT_MS), None);
        assert!(said.config("eth0").servers.is_empty() && said.losses == 1);
    }

    #[test]
    fn what_is_said_ends() {
        let server: Ipv6Addr = "fec0::3".parse().unwrap();
        let mut announced = Announced { link: 2, lifetime: 60, servers: vec![server], search: vec!["lab".into()] };
        let mut said = Said::default();
        said.hear(1000, &announced);
        assert_eq!(said.expire(2000), Some(61_000));
        assert_eq!(said.config("eth0").servers, [IpAddr::V6(server)]);
        // "No longer" takes it away at once.
        announced.lifetime = 0;
        said.hear(3000, &announced);
        assert_eq!(said, Said::default());
        announced.lifetime = u32::MAX;
        said.hear(3000, &announced);
        assert_eq!(said.expire(u64::MAX - 1), None);
        assert!(!said.servers.is_empty());
    }
}
