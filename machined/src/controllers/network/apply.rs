//! Makes the kernel have what the specs say.
//!
//! Invariant: acts only when the specs are complete, and goes on after a refused change with the others; the refused one is
//! tried again later.

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::events::Events;
use crate::resources::address::{Address, AddressSpec};
use crate::resources::link::Link;
use crate::resources::link_config::LinkSpec;
use crate::resources::resolver::ResolverSpec;
use crate::resources::route::{Route, RouteSpec};

use super::netlink::{Change, Error, Netlink};
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
}

impl<N: Netlink> Apply<N> {
    /// Changes this kernel.
    pub fn new(netlink: N, events: Events) -> Self {
        Self { netlink, events }
    }

    fn tell(&self, change: &Change) {
        match change {
            Change::AddAddress { link, address } => self.events.info("network", format!("{link} got {address}")),
            Change::RemoveAddress { link, address } => self.events.info("network", format!("{link} gave up {address}")),
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
        };
        let observed = self.netlink.observe().await?;
        let mut refused = None;
        for change in plan(&desired, &observed) {
            match self.netlink.apply(&change).await {
                Ok(()) => self.tell(&change),
                // The next look will not find it.
                Err(Error::Gone(_)) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(Next::OnChange), |error| Err(error.into()))
    }
}
