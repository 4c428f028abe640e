//! The part of the plan that is about links themselves: which are made and taken away, which belong to which, and how each is
//! set.
//!
//! ```text
//! VLANs that go - bonds that go - ports that leave - bonds - ports that come - bonds' settings - VLANs - each link,
//! the one below before those on it
//! ```
//! A bond's mode, and what a VLAN is on, cannot be changed: those are taken away and made anew.

use std::collections::BTreeSet;

use crate::controllers::network::netlink::{Change, LinkState, OUR_GROUP};
use crate::resources::link_config::LinkSpec;
use crate::resources::virtual_link::{Bond, BondMode, Virtual};

use super::Desired;
use super::world::World;

pub(super) fn plan(desired: &Desired, world: &mut World) {
    delete(desired, world);
    claim(desired, world);
    release(desired, world);
    create(desired, world, "bond");
    for (name, spec) in &desired.links {
        enslave(name, spec, world);
    }
    for (name, spec) in &desired.links {
        if let Some(Virtual::Bond(bond)) = &spec.make {
            set_bond(name, bond, world);
        }
    }
    // A bond has the hardware address of its first port, and a VLAN that of its bond.
    create(desired, world, "vlan");
    for name in from_below(world) {
        if let Some(spec) = desired.links.get(&name) {
            set(&name, spec, desired, world);
        }
    }
}

/// Whether what is there can become what is wanted without being made anew.
fn can_become(have: &LinkState, wanted: &Virtual) -> bool {
    match (&have.made, wanted) {
        (Some(Virtual::Bond(have)), Virtual::Bond(wanted)) => have.mode == wanted.mode,
        (Some(Virtual::Vlan(have)), Virtual::Vlan(wanted)) => have == wanted,
        _ => false,
    }
}

fn wanted<'a>(desired: &'a Desired, name: &str) -> Option<&'a Virtual> {
    desired.links.get(name)?.make.as_ref()
}

/// Ours that nobody wants, or not like this. VLANs first, so that they are not gone with their links when their turn comes.
fn delete(desired: &Desired, world: &mut World) {
    for kind in ["vlan", "bond"] {
        let ours = world.links.iter().filter(|link| link.group == OUR_GROUP && link.virtual_kind == kind);
        let away = ours.filter(|link| wanted(desired, &link.name).is_none_or(|wanted| !can_become(link, wanted)));
        for name in away.map(|link| link.name.clone()).collect::<Vec<_>>() {
            if world.link(&name).is_some() {
                world.change(Change::DeleteLink { link: name });
            }
        }
    }
}

/// Ports that shall be in another bond, or in none any more after one of ours.
fn release(desired: &Desired, world: &mut World) {
    let mut away = Vec::new();
    for link in &world.links {
        let Some(have) = world.controller(link) else { continue };
        let wanted = desired.links.get(&link.name).and_then(|spec| spec.controller.as_deref());
        if wanted != Some(have.name.as_str()) && (wanted.is_some() || have.group == OUR_GROUP) {
            away.push(link.name.clone());
        }
    }
    for link in away {
        world.change(Change::SetController { link, controller: None });
    }
}

/// What somebody made as we would is ours from now on.
fn claim(desired: &Desired, world: &mut World) {
    for (name, spec) in &desired.links {
        let (Some(make), Some(have)) = (&spec.make, world.link(name)) else { continue };
        if have.group != OUR_GROUP && can_become(have, make) {
            world.change(Change::ClaimLink { link: name.clone() });
        }
    }
}

/// What is not there. A name that somebody else's link has stays theirs, and a VLAN waits for its link.
fn create(desired: &Desired, world: &mut World, kind: &str) {
    let all = desired.links.iter().filter_map(|(name, spec)| Some((name, spec.make.as_ref()?)));
    let mut made: Vec<_> = all.filter(|(name, make)| make.kind() == kind && world.link(name).is_none()).collect();
    // A VLAN may be on a VLAN: again, as long as the last round made one.
    loop {
        let before = made.len();
        made.retain(|(name, make)| {
            let ready = match make {
                Virtual::Bond(_) => true,
                Virtual::Vlan(vlan) => world.link(&vlan.link).is_some(),
            };
            if ready {
                world.change(Change::CreateLink { link: (*name).clone(), make: (*make).clone() });
            }
            !ready
        });
        if made.len() == before {
            return;
        }
    }
}

fn enslave(name: &str, spec: &LinkSpec, world: &mut World) {
    let Some(bond) = &spec.controller else { return };
    let (Some(link), Some(controller)) = (world.link(name), world.link(bond)) else { return };
    if link.controller == Some(controller.index) || controller.group != OUR_GROUP || controller.virtual_kind != "bond" {
        return;
    }
    // The kernel takes only links that are off.
    if link.up {
        world.change(Change::SetUp { link: name.to_owned(), up: false });
    }
    world.change(Change::SetController { link: name.to_owned(), controller: Some(bond.clone()) });
}

fn set_bond(name: &str, wanted: &Bond, world: &mut World) {
    let Some(link) = world.link(name) else { return };
    let Some(Virtual::Bond(have)) = link.made.as_ref().filter(|_| link.group == OUR_GROUP) else { return };
    // What a mode does not have the kernel refuses, or keeps without telling.
    let is_port = |port: &String| world.link(port).is_some_and(|port| port.controller == Some(link.index));
    let primary = wanted.primary.clone().filter(|port| wanted.has_primary() && is_port(port));
    let lacp = wanted.mode == BondMode::Lacp;
    let lacp_rate = if lacp { wanted.lacp_rate } else { have.lacp_rate };
    let bond = Bond { primary, lacp_rate, ..wanted.clone() };
    if bond == *have {
        return;
    }
    // The one setting that the kernel takes only while the bond is off.
    let rate = bond.lacp_rate != have.lacp_rate;
    if rate && link.up {
        world.change(Change::SetUp { link: name.to_owned(), up: false });
    }
    world.change(Change::ChangeBond { link: name.to_owned(), bond, rate });
}

/// All links, each after those it is on or made of.
fn from_below(world: &World) -> Vec<String> {
    let (mut order, mut left): (Vec<_>, Vec<_>) = world.links.iter().partition(|link| link.made.is_none());
    left.sort_by_key(|link| link.virtual_kind != "bond");
    let mut placed: BTreeSet<&str> = order.iter().map(|link| link.name.as_str()).collect();
    while !left.is_empty() {
        // Around in a circle, or on a link elsewhere: the order does not help these.
        let next = left.iter().position(|link| world.parent(link).is_none_or(|parent| placed.contains(&*parent.name)));
        let link = left.remove(next.unwrap_or(0));
        placed.insert(&link.name);
        order.push(link);
    }
    order.into_iter().map(|link| link.name.clone()).collect()
}

fn set(name: &str, spec: &LinkSpec, desired: &Desired, world: &mut World) {
    let Some(link) = world.link(name).cloned() else { return };
    // Before it goes up: the first router announcement must find the setting. A port of a bond has no IPv6 of its own.
    let accept_ra = if spec.accept_ra { 2 } else { 0 };
    if link.accept_ra.is_some_and(|value| value != accept_ra) {
        world.change(Change::SetAcceptRa { link: name.to_owned(), value: accept_ra });
    }
    let own = desired.own_mtus.get(&link.index).copied();
    if let Some(mtu) = mtu(spec, &link, own, world).filter(|mtu| *mtu != link.mtu) {
        world.change(Change::SetMtu { link: name.to_owned(), mtu });
    }
    let on = world.link(name).is_some_and(|link| link.up);
    // A VLAN cannot be on while its link is off.
    let possible = !spec.up || world.parent(&link).is_none_or(|parent| parent.up);
    if spec.up != on && possible {
        world.change(Change::SetUp { link: name.to_owned(), up: spec.up });
    }
}

/// The largest packet a link shall take; none: as it is. A port has its bond's, a VLAN no more than its link, and as much
/// unless it is told otherwise.
fn mtu(spec: &LinkSpec, link: &LinkState, own: Option<u32>, world: &World) -> Option<u32> {
    if world.controller(link).is_some_and(|controller| controller.virtual_kind == "bond") {
        return None;
    }
    // A server may name more than the driver takes: the nearest it does take, rather than to be refused for ever.
    let (least, most) = link.mtu_limits;
    let most = most.unwrap_or(u32::MAX);
    match world.parent(link) {
        Some(parent) => Some(spec.mtu.unwrap_or(parent.mtu).max(least).min(most).min(parent.mtu)),
        None => spec.mtu.map(|mtu| mtu.max(least).min(most)).or(own),
    }
}
