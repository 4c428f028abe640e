//! What to change so that the kernel has what the specs say: pure, so that it is tested without a kernel.
//!
//! Invariant: what carries another protocol number or group than ours is never taken away, but for what the kernel made from
//! the announcements of routers on a link that shall not listen to them; after the changes were made the plan is empty. Called by `apply`.

mod links;
mod world;

use std::collections::BTreeMap;

use crate::resources::address::AddressSpec;
use crate::resources::link_config::LinkSpec;
use crate::resources::route::RouteSpec;

use super::merge::same_address;
use super::netlink::{ADDRESS_ROUTER, Change, OURS, Observed, ROUTE_ROUTER, RouteState};

use self::world::World;

/// What shall be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Links by name.
    pub links: BTreeMap<String, LinkSpec>,
    /// Addresses.
    pub addresses: Vec<AddressSpec>,
    /// Routes.
    pub routes: Vec<RouteSpec>,
    /// By link number: the largest packet of links for which another was set once, as it was before.
    pub own_mtus: BTreeMap<u32, u32>,
}

/// The changes in the order they are made: links first, see `links`; away with the old before the new, because IPv4 removes
/// the secondary addresses with their primary one; routes after the addresses their gateways are reached by.
pub fn plan(desired: &Desired, observed: &Observed) -> Vec<Change> {
    let mut world = World::new(observed);
    links::plan(desired, &mut world);
    remove_routes(desired, &mut world);
    plan_addresses(desired, &mut world);
    add_routes(desired, &mut world);
    world.changes
}

/// Whether a link shall not listen to routers. What they said before the kernel keeps until its time is over, which may be a
/// month.
fn deaf(desired: &Desired, link: &str) -> bool {
    desired.links.get(link).is_some_and(|spec| !spec.accept_ra)
}

fn plan_addresses(desired: &Desired, world: &mut World) {
    for old in world.addresses.clone() {
        // In IPv4 the number may be anybody's.
        let router = old.protocol == ADDRESS_ROUTER && old.address.addr().is_ipv6() && deaf(desired, &old.link);
        let wanted = desired.addresses.iter().any(|new| new.link == old.link && new.address == old.address);
        if router || (old.protocol == OURS && !wanted) {
            world.change(Change::RemoveAddress { link: old.link, address: old.address });
        }
    }
    for new in desired.addresses.iter().filter(|new| world.link(&new.link).is_some()).collect::<Vec<_>>() {
        // Also when somebody else has it with another prefix length.
        if !world.addresses.iter().any(|old| old.link == new.link && same_address(old.address, new.address)) {
            world.change(Change::AddAddress { link: new.link.clone(), address: new.address });
        }
    }
}

/// The kernel's own key of a route: it replaces by this, whatever the gateway.
fn same_slot(new: &RouteSpec, old: &RouteState) -> bool {
    new.destination.trunc() == old.destination && new.metric == old.metric && new.link == old.link
}

fn satisfied(new: &RouteSpec, old: &RouteState) -> bool {
    same_slot(new, old)
        && new.gateway == old.gateway
        && new.preferred_source.is_none_or(|source| old.preferred_source == Some(source))
}

fn remove_routes(desired: &Desired, world: &mut World) {
    for old in world.routes.clone() {
        let router = old.protocol == ROUTE_ROUTER && deaf(desired, &old.link);
        if router || (old.protocol == OURS && !desired.routes.iter().any(|new| same_slot(new, &old))) {
            world.change(Change::RemoveRoute(old));
        }
    }
}

fn add_routes(desired: &Desired, world: &mut World) {
    // On-link routes first: the gateways of the others may be reached by them.
    let (on_link, by_gateway): (Vec<_>, Vec<_>) = desired.routes.iter().partition(|new| new.gateway.is_none());
    for new in on_link.into_iter().chain(by_gateway) {
        // A link that is off has no routes; switching it on brings the next cycle.
        let there = world.routes.iter().any(|old| satisfied(new, old));
        if there || world.link(&new.link).is_none_or(|link| !link.up) {
            continue;
        }
        let replace = world.routes.iter().any(|old| old.protocol == OURS && same_slot(new, old));
        world.change(Change::AddRoute {
            route: RouteState {
                link: new.link.clone(),
                destination: new.destination.trunc(),
                gateway: new.gateway,
                preferred_source: new.preferred_source,
                metric: new.metric,
                protocol: OURS,
            },
            replace,
        });
    }
}

#[cfg(test)]
mod tests;
