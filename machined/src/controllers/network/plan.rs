//! What to change so that the kernel has what the specs say: pure, so that it is tested without a kernel.
//!
//! Invariant: what carries another protocol number than ours is never changed or removed; after the changes were made the
//! plan is empty. Called by `apply`.

use std::collections::BTreeMap;

use crate::resources::address::AddressSpec;
use crate::resources::link_config::LinkSpec;
use crate::resources::route::RouteSpec;

use super::netlink::{Change, LinkState, OURS, Observed, RouteState};

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

/// The changes in the order they are made: links first; away with the old before the new, because IPv4 removes the
/// secondary addresses with their primary one; routes after the addresses their gateways are reached by.
pub fn plan(desired: &Desired, observed: &Observed) -> Vec<Change> {
    let mut changes = Vec::new();
    for link in &observed.links {
        if let Some(spec) = desired.links.get(&link.name) {
            plan_link(spec, link, desired.own_mtus.get(&link.index).copied(), &mut changes);
        }
    }
    remove_routes(desired, observed, &mut changes);
    plan_addresses(desired, observed, &mut changes);
    add_routes(desired, observed, &mut changes);
    changes
}

fn plan_link(spec: &LinkSpec, link: &LinkState, own_mtu: Option<u32>, changes: &mut Vec<Change>) {
    // Before it goes up: the first router announcement must find the setting.
    let accept_ra = if spec.accept_ra { 2 } else { 0 };
    if link.accept_ra.is_some_and(|value| value != accept_ra) {
        changes.push(Change::SetAcceptRa { link: link.name.clone(), value: accept_ra });
    }
    // A server may name more than the driver takes: the nearest it does take, rather than to be refused for ever.
    let (least, most) = link.mtu_limits;
    let wanted = spec.mtu.map(|mtu| mtu.max(least).min(most.unwrap_or(u32::MAX))).or(own_mtu);
    if let Some(mtu) = wanted.filter(|mtu| *mtu != link.mtu) {
        changes.push(Change::SetMtu { link: link.name.clone(), mtu });
    }
    if spec.up != link.up {
        changes.push(Change::SetUp { link: link.name.clone(), up: spec.up });
    }
}

fn plan_addresses(desired: &Desired, observed: &Observed, changes: &mut Vec<Change>) {
    for old in observed.addresses.iter().filter(|old| old.protocol == OURS) {
        if !desired.addresses.iter().any(|new| new.link == old.link && new.address == old.address) {
            changes.push(Change::RemoveAddress { link: old.link.clone(), address: old.address });
        }
    }
    for new in desired.addresses.iter().filter(|new| observed.links.iter().any(|link| link.name == new.link)) {
        if !observed.addresses.iter().any(|old| old.link == new.link && old.address == new.address) {
            changes.push(Change::AddAddress { link: new.link.clone(), address: new.address });
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

/// Whether the link is there and on once the changes of links are made.
fn will_be_up(link: &str, desired: &Desired, observed: &Observed) -> bool {
    let found = observed.links.iter().find(|have| have.name == link);
    found.is_some_and(|have| desired.links.get(link).map_or(have.up, |spec| spec.up))
}

fn remove_routes(desired: &Desired, observed: &Observed, changes: &mut Vec<Change>) {
    for old in observed.routes.iter().filter(|old| old.protocol == OURS) {
        let wanted = desired.routes.iter().any(|new| same_slot(new, old));
        // The kernel itself removes the routes of a link that is switched off.
        if !wanted && will_be_up(&old.link, desired, observed) {
            changes.push(Change::RemoveRoute(old.clone()));
        }
    }
}

fn add_routes(desired: &Desired, observed: &Observed, changes: &mut Vec<Change>) {
    // On-link routes first: the gateways of the others may be reached by them.
    let (on_link, by_gateway): (Vec<_>, Vec<_>) = desired.routes.iter().partition(|new| new.gateway.is_none());
    for new in on_link.into_iter().chain(by_gateway) {
        // A link that is off has no routes; switching it on brings the next cycle.
        let there = observed.routes.iter().any(|old| satisfied(new, old));
        if there || !will_be_up(&new.link, desired, observed) {
            continue;
        }
        let replace = observed.routes.iter().any(|old| old.protocol == OURS && same_slot(new, old));
        changes.push(Change::AddRoute {
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
#[path = "plan_tests.rs"]
mod tests;
