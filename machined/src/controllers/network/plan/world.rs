//! The kernel as it will be after the changes planned so far, so that each step of the plan looks at what the steps before it
//! leave: a link that is taken away takes its addresses with it, one that is switched off loses its routes.

use std::net::IpAddr;
use std::ops::Deref;

use crate::controllers::network::netlink::{Change, LinkState, OUR_GROUP, Observed};
use crate::resources::link::{LinkKind, OperState};
use crate::resources::virtual_link::Virtual;

/// What Ethernet carries, and what a new bond has.
const ETHERNET_MTU: u32 = 1500;

/// The world, and how it came to be.
pub(super) struct World {
    observed: Observed,
    /// In the order they are made.
    pub(super) changes: Vec<Change>,
}

impl Deref for World {
    type Target = Observed;

    fn deref(&self) -> &Observed {
        &self.observed
    }
}

impl World {
    pub(super) fn new(observed: &Observed) -> Self {
        Self { observed: observed.clone(), changes: Vec::new() }
    }

    pub(super) fn link(&self, name: &str) -> Option<&LinkState> {
        self.observed.links.iter().find(|link| link.name == name)
    }

    /// The name of the bond a link is a port of.
    pub(super) fn controller(&self, link: &LinkState) -> Option<&LinkState> {
        self.observed.links.iter().find(|have| Some(have.index) == link.controller)
    }

    /// The link a VLAN is on.
    pub(super) fn parent(&self, link: &LinkState) -> Option<&LinkState> {
        match &link.made {
            Some(Virtual::Vlan(vlan)) => self.link(&vlan.link),
            _ => None,
        }
    }

    /// Plans a change.
    pub(super) fn change(&mut self, change: Change) {
        self.imagine(&change);
        self.changes.push(change);
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut LinkState)) {
        if let Some(link) = self.observed.links.iter_mut().find(|link| link.name == name) {
            edit(link);
        }
    }

    fn vlans_of(&self, name: &str) -> Vec<String> {
        let on = |link: &&LinkState| matches!(&link.made, Some(Virtual::Vlan(vlan)) if vlan.link == name);
        self.observed.links.iter().filter(on).map(|link| link.name.clone()).collect()
    }

    fn ports_of(&self, name: &str) -> Vec<String> {
        let Some(index) = self.link(name).map(|link| link.index) else { return Vec::new() };
        let ports = self.observed.links.iter().filter(|link| link.controller == Some(index));
        ports.map(|link| link.name.clone()).collect()
    }

    fn imagine(&mut self, change: &Change) {
        match change {
            Change::CreateLink { link, make } => self.create(link, make),
            Change::DeleteLink { link } => self.delete(link),
            Change::ClaimLink { link } => self.edit(link, |link| link.group = OUR_GROUP),
            Change::ChangeBond { link, bond, .. } => {
                self.edit(link, |link| link.made = Some(Virtual::Bond(bond.clone())));
            }
            Change::SetController { link, controller } => self.set_controller(link, controller.as_deref()),
            Change::SetUp { link, up } => self.set_up(link, *up),
            Change::SetMtu { link, mtu } => self.set_mtu(link, *mtu),
            Change::SetAcceptRa { link, value } => self.edit(link, |link| link.accept_ra = Some(*value)),
            Change::RemoveRoute(route) => self.observed.routes.retain(|have| have != route),
            Change::RemoveAddress { link, address } => {
                self.observed.addresses.retain(|have| have.link != *link || have.address != *address);
            }
            // Nothing later looks at these.
            Change::AddAddress { .. } | Change::AddRoute { .. } => {}
        }
    }

    fn create(&mut self, name: &str, make: &Virtual) {
        let parent = match make {
            Virtual::Vlan(vlan) => self.link(&vlan.link),
            Virtual::Bond(_) => None,
        };
        let mtu = parent.map_or(ETHERNET_MTU, |parent| parent.mtu);
        // Never one of a real link: those count from 1.
        let index = self.observed.links.iter().map(|link| link.index).max().unwrap_or(0).saturating_add(1);
        let ipv6 = self.observed.links.iter().any(|link| link.accept_ra.is_some());
        let made = match make {
            // It is told once there are ports.
            Virtual::Bond(bond) => {
                Virtual::Bond(crate::resources::virtual_link::Bond { primary: None, ..bond.clone() })
            }
            Virtual::Vlan(_) => make.clone(),
        };
        self.observed.links.push(LinkState {
            index,
            name: name.to_owned(),
            kind: LinkKind::Virtual,
            virtual_kind: make.kind().to_owned(),
            mac: Vec::new(),
            permanent_mac: Vec::new(),
            group: OUR_GROUP,
            parent: parent.map(|parent| parent.index),
            made: Some(made),
            mtu,
            mtu_limits: (0, None),
            up: false,
            carrier: false,
            carrier_losses: 0,
            oper_state: OperState::Down,
            controller: None,
            active_port: None,
            // Not known: so it is set whatever is wanted.
            accept_ra: ipv6.then_some(u8::MAX),
        });
    }

    fn delete(&mut self, name: &str) {
        for vlan in self.vlans_of(name) {
            self.delete(&vlan);
        }
        for port in self.ports_of(name) {
            self.set_controller(&port, None);
        }
        self.observed.links.retain(|link| link.name != name);
        self.observed.addresses.retain(|address| address.link != name);
        self.observed.routes.retain(|route| route.link != name);
    }

    fn set_controller(&mut self, name: &str, controller: Option<&str>) {
        let bond = controller.and_then(|name| self.link(name)).map(|bond| (bond.index, bond.mtu));
        // The bond opens and closes its ports itself.
        if bond.is_none() {
            self.set_up(name, false);
        }
        self.edit(name, |link| {
            link.controller = bond.map(|(index, _)| index);
            link.up = bond.is_some();
            link.mtu = bond.map_or(link.mtu, |(_, mtu)| mtu);
        });
    }

    fn set_up(&mut self, name: &str, up: bool) {
        self.edit(name, |link| link.up = up);
        if !up {
            self.observed.routes.retain(|route| route.link != name);
            self.observed
                .addresses
                .retain(|address| address.link != name || matches!(address.address.addr(), IpAddr::V4(_)));
        }
        // They go with their link, in both directions.
        for vlan in self.vlans_of(name) {
            self.set_up(&vlan, up);
        }
    }

    fn set_mtu(&mut self, name: &str, mtu: u32) {
        self.edit(name, |link| link.mtu = mtu);
        for port in self.ports_of(name) {
            self.edit(&port, |link| link.mtu = mtu);
        }
        for vlan in self.vlans_of(name) {
            if self.link(&vlan).is_some_and(|link| link.mtu > mtu) {
                self.set_mtu(&vlan, mtu);
            }
        }
    }
}
