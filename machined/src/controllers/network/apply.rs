//! Makes the kernel have what the specs say.
//!
//! Invariant: acts only when the specs are complete, and goes on after a refused change with the others; the refused one is
//! tried again later.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::events::Events;
use crate::resources::address::{Address, AddressSpec};
use crate::resources::kernel_module::KernelModule;
use crate::resources::link::Link;
use crate::resources::link_config::LinkSpec;
use crate::resources::network_document::NetworkRefusal;
use crate::resources::resolver::ResolverSpec;
use crate::resources::route::{Route, RouteSpec};
use crate::trace::chain;

use super::netlink::{Change, Error, LinkState, Netlink};
use super::plan::{Desired, plan};

/// Why the kernel does not have it yet.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The kernel refused; the others were made.
    #[error(transparent)]
    Netlink(#[from] Error),
    /// The store refused.
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `network/apply`.
pub struct Apply<N> {
    netlink: N,
    events: Events,
    /// Where `own_mtus` is kept for the next machined.
    kept: PathBuf,
    own_mtus: BTreeMap<u32, u32>,
}

impl<N: Netlink> Apply<N> {
    /// Changes this kernel; what links were like before is kept in the file `kept`, which must not outlive the boot.
    pub fn new(netlink: N, events: Events, kept: PathBuf) -> Self {
        let own_mtus =
            std::fs::read(&kept).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { netlink, events, kept, own_mtus }
    }

    /// Remembers what a link had before the first change: the kernel has no word for it, and the link gets it back.
    fn remember(&mut self, name: &str, links: &[LinkState]) {
        let Some(link) = links.iter().find(|link| link.name == name) else { return };
        if self.own_mtus.contains_key(&link.index) {
            return;
        }
        self.own_mtus.retain(|index, _| links.iter().any(|link| link.index == *index));
        self.own_mtus.insert(link.index, link.mtu);
        let written = serde_json::to_vec(&self.own_mtus).map_err(io::Error::from);
        if let Err(error) = written.and_then(|text| crate::file::replace(&self.kept, &text, 0o644)) {
            tracing::warn!("network: cannot write {}: {error}", self.kept.display());
        }
    }

    fn tell(&self, change: &Change) {
        match change {
            Change::AddAddress { link, address } => self.events.info("network", format!("{link} got {address}")),
            Change::RemoveAddress { link, address } => self.events.info("network", format!("{link} gave up {address}")),
            Change::CreateLink { link, make } => {
                self.events.info("network", format!("{link}, a {}, was made", make.kind()));
            }
            Change::DeleteLink { link } => self.events.info("network", format!("{link} was taken away")),
            Change::SetController { link, controller: Some(bond) } => {
                self.events.info("network", format!("{link} joined {bond}"));
            }
            Change::SetController { link, controller: None } => {
                self.events.info("network", format!("{link} left its bond"));
            }
            change => tracing::debug!("network: {change:?}"),
        }
    }
}

impl<N: Netlink> Controller for Apply<N> {
    const NAME: &'static str = "network/apply";
    type Error = Failure;

    fn declare(ports: &mut Ports) {
        ports.watch::<LinkSpec>();
        ports.watch::<AddressSpec>();
        ports.watch::<RouteSpec>();
        ports.watch::<ResolverSpec>();
        // Not read: a change of the kernel's state may need an answer, for example the routes of a link that was off.
        ports.watch::<Link>();
        ports.watch::<Address>();
        ports.watch::<Route>();
        // What the kernel could not make may be possible with another module.
        ports.watch::<KernelModule>();
        ports.own::<NetworkRefusal>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Failure> {
        // Written last by `merge`: without it the other specs are not complete.
        if cx.get::<ResolverSpec>(ResolverSpec::ID)?.is_none() {
            return Ok(Next::Unready);
        }
        let desired = Desired {
            links: cx.list::<LinkSpec>()?.into_iter().map(|spec| (spec.id, (*spec.value).clone())).collect(),
            addresses: cx.list::<AddressSpec>()?.into_iter().map(|spec| (*spec.value).clone()).collect(),
            routes: cx.list::<RouteSpec>()?.into_iter().map(|spec| (*spec.value).clone()).collect(),
            own_mtus: self.own_mtus.clone(),
        };
        let observed = self.netlink.observe().await?;
        let (mut refused, mut said) = (None, NetworkRefusal::default());
        for change in plan(&desired, &observed) {
            if let Change::SetMtu { link, .. } = &change {
                self.remember(link, &observed.links);
            }
            match self.netlink.apply(&change).await {
                Ok(()) => self.tell(&change),
                // The next look will not find it.
                Err(Error::Gone(_)) => {}
                // Its load is under way; what needs the link fails with it.
                Err(error @ Error::NoModule { .. }) => {
                    said.links.entry(change.link().to_owned()).or_insert_with(|| chain(&error));
                }
                Err(error) => {
                    said.links.entry(change.link().to_owned()).or_insert_with(|| chain(&error));
                    refused = refused.or(Some(error));
                }
            }
        }
        cx.put(NetworkRefusal::ID, said)?;
        refused.map_or(Ok(Next::OnChange), |error| Err(error.into()))
    }
}
