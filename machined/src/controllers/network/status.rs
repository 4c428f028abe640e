//! What the kernel has, as resources. Reads everything whenever the kernel says that something changed.

use std::collections::BTreeMap;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::events::Events;
use crate::resources::address::{Address, AddressOrigin, AddressScope, AddressSpec};
use crate::resources::link::{Link, LinkKind};
use crate::resources::link_config::LinkSpec;
use crate::resources::origin::Origin;
use crate::resources::route::{Route, RouteOrigin, RouteSpec};

use super::devices::Devices;
use super::netlink::{
    ADDRESS_ROUTER, AddressState, Changes, Error, LinkState, Netlink, OURS, ROUTE_ROUTER, RouteState,
};

/// IFAPROT_KERNEL_LO, IFAPROT_KERNEL_LL (linux/if_addr.h).
const ADDRESS_LOOPBACK: u8 = 1;
const ADDRESS_LINK_LOCAL: u8 = 3;
/// RTPROT_KERNEL (linux/rtnetlink.h).
const ROUTE_KERNEL: u8 = 2;

/// Why the state is not known.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The kernel did not answer.
    #[error(transparent)]
    Netlink(#[from] Error),
    /// The store refused.
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `network/status`.
pub struct Status<N, C> {
    netlink: N,
    changes: C,
    devices: Devices,
    events: Events,
    /// Carrier of the physical links at the last look, to tell people what changed.
    carriers: BTreeMap<String, bool>,
}

impl<N: Netlink, C: Changes> Status<N, C> {
    /// `changes` must already listen: what happens between its start and the first look is then seen.
    pub fn new(netlink: N, changes: C, devices: Devices, events: Events) -> Self {
        Self { netlink, changes, devices, events, carriers: BTreeMap::new() }
    }

    fn tell(&mut self, links: &[LinkState]) {
        let physical = links.iter().filter(|link| link.kind == LinkKind::Physical);
        let carriers: BTreeMap<String, bool> = physical.map(|link| (link.name.clone(), link.carrier)).collect();
        for (name, carrier) in &carriers {
            match (self.carriers.get(name), carrier) {
                (Some(false) | None, true) => self.events.info("network", format!("{name} has carrier")),
                (Some(true), false) => self.events.warn("network", format!("{name} lost its carrier")),
                _ => {}
            }
        }
        for name in self.carriers.keys().filter(|name| !carriers.contains_key(*name)) {
            self.events.warn("network", format!("{name} is gone"));
        }
        self.carriers = carriers;
    }
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn link(state: &LinkState, all: &[LinkState], devices: &Devices, origin: Option<Origin>) -> Link {
    let device = devices.look(&state.name);
    let named = |index: u32| Some(all.iter().find(|link| link.index == index)?.name.clone());
    Link {
        index: state.index,
        kind: state.kind,
        virtual_kind: state.virtual_kind.clone(),
        mac: mac(&state.mac),
        permanent_mac: mac(&state.permanent_mac),
        mtu: state.mtu,
        up: state.up,
        carrier: state.carrier,
        carrier_losses: state.carrier_losses,
        oper_state: state.oper_state,
        controller: state.controller.and_then(named),
        active_port: state.active_port.and_then(named),
        driver: device.driver,
        bus_path: device.bus_path,
        speed_mbps: device.speed_mbps,
        made: state.made.clone(),
        // For a pair of virtual links it is the other end, and may be in another place.
        parent: state.parent.filter(|_| state.virtual_kind == "vlan").and_then(named),
        origin,
    }
}

fn address(state: &AddressState, document: Option<Origin>) -> Address {
    Address {
        link: state.link.clone(),
        address: state.address,
        scope: state.scope,
        document,
        origin: match state.protocol {
            OURS => AddressOrigin::Stele,
            ADDRESS_ROUTER => AddressOrigin::Router,
            ADDRESS_LOOPBACK | ADDRESS_LINK_LOCAL => AddressOrigin::Kernel,
            // 127.0.0.1, which the kernel adds without a number.
            0 if state.scope == AddressScope::Host => AddressOrigin::Kernel,
            _ => AddressOrigin::Other,
        },
        tentative: state.tentative,
        deprecated: state.deprecated,
    }
}

fn route(state: &RouteState, document: Option<Origin>) -> Route {
    Route {
        link: state.link.clone(),
        destination: state.destination,
        gateway: state.gateway,
        preferred_source: state.preferred_source,
        metric: state.metric,
        document,
        origin: match state.protocol {
            OURS => RouteOrigin::Stele,
            ROUTE_ROUTER => RouteOrigin::Router,
            ROUTE_KERNEL => RouteOrigin::Kernel,
            _ => RouteOrigin::Other,
        },
    }
}

impl<N: Netlink, C: Changes> Controller for Status<N, C> {
    const NAME: &'static str = "network/status";
    type Error = Failure;

    fn declare(ports: &mut Ports) {
        // Only to say which document made it so.
        ports.watch::<LinkSpec>();
        ports.watch::<AddressSpec>();
        ports.watch::<RouteSpec>();
        ports.own::<Link>();
        ports.own::<Address>();
        ports.own::<Route>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Failure> {
        let observed = self.netlink.observe().await?;
        self.tell(&observed.links);
        for state in &observed.links {
            let origin = cx.get::<LinkSpec>(&state.name)?.and_then(|spec| spec.value.origin.clone());
            cx.put(&state.name, link(state, &observed.links, &self.devices, origin))?;
        }
        for state in &observed.addresses {
            let id = format!("{}/{}", state.link, state.address);
            let spec = cx.get::<AddressSpec>(&id)?.filter(|_| state.protocol == OURS);
            let document = spec.and_then(|spec| spec.value.origin.clone());
            cx.put(id, address(state, document))?;
        }
        // The first of several with one id (they differ in what is not shown), so that a cycle without news changes nothing.
        let mut routes = BTreeMap::new();
        for state in &observed.routes {
            let id = format!("{}/{}/{}", state.link, state.destination, state.metric);
            let spec = cx.get::<RouteSpec>(&id)?.filter(|_| state.protocol == OURS);
            let route = route(state, spec.and_then(|spec| spec.value.origin.clone()));
            routes.entry(route.id()).or_insert(route);
        }
        for (id, route) in routes {
            cx.put(id, route)?;
        }
        Ok(Next::OnChange)
    }

    async fn wake(&mut self) {
        self.changes.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use reconcile::{Store, run_cycle};

    use super::*;
    use crate::controllers::network::netlink::{Change, Observed};
    use crate::resources::link::OperState;
    use crate::resources::virtual_link::{Virtual, Vlan};

    struct Kernel(Observed);

    impl Netlink for Kernel {
        async fn observe(&self) -> Result<Observed, Error> {
            Ok(self.0.clone())
        }

        async fn apply(&self, _: &Change) -> Result<(), Error> {
            Ok(())
        }
    }

    impl Changes for () {
        async fn changed(&mut self) {
            std::future::pending().await
        }
    }

    fn vlan() -> LinkState {
        LinkState {
            index: 2,
            name: "vlan5".into(),
            kind: LinkKind::Virtual,
            virtual_kind: "vlan".into(),
            mac: vec![2; 6],
            permanent_mac: Vec::new(),
            group: 0,
            parent: None,
            made: Some(Virtual::Vlan(Vlan { link: "eth0".into(), id: 5 })),
            mtu: 1500,
            mtu_limits: (0, None),
            up: true,
            carrier: true,
            carrier_losses: 0,
            oper_state: OperState::Up,
            controller: None,
            active_port: None,
            accept_ra: None,
        }
    }

    #[tokio::test]
    async fn what_is_ours_says_which_document_wants_it_and_a_made_link_how() {
        let (net, gateway): (IpNet, _) = ("2001:db8::5/64".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let everywhere: IpNet = "::/0".parse().unwrap();
        let link = || "vlan5".to_owned();
        let address = |protocol| AddressState {
            link: link(),
            address: net,
            scope: AddressScope::Global,
            protocol,
            tentative: false,
            deprecated: false,
        };
        let route = RouteState {
            link: link(),
            destination: everywhere,
            gateway: Some(gateway),
            preferred_source: None,
            metric: 514,
            protocol: OURS,
        };
        let observed = Observed { links: vec![vlan()], addresses: vec![address(OURS)], routes: vec![route] };
        let (store, folder) = (Store::new(), tempfile::tempdir().unwrap());
        let origin = Some(Origin { document: "Vlan/vlan5".into(), line: 3, revision: 2 });
        let source = "config".to_owned();
        let spec = AddressSpec { link: link(), address: net, source: source.clone(), origin: origin.clone() };
        store.writer::<AddressSpec>("test").unwrap().put("vlan5/2001:db8::5/64", spec);
        let spec = RouteSpec {
            link: link(),
            destination: everywhere,
            gateway: Some(gateway),
            preferred_source: None,
            metric: 514,
            source,
            origin: origin.clone(),
        };
        store.writer::<RouteSpec>("test").unwrap().put(spec.id(), spec);
        let events = Events::open(&store, folder.path().join("events")).unwrap();
        let mut status = Status::new(Kernel(observed), (), Devices::new(folder.path()), events);
        run_cycle(&mut status, &store).await.unwrap();
        let shown = || (*store.get::<Address>("vlan5/2001:db8::5/64").unwrap().value).clone();
        assert_eq!(shown().document, origin);
        assert_eq!(store.list::<Route>()[0].value.document, origin);
        assert_eq!(store.get::<Link>("vlan5").unwrap().value.made, vlan().made);
        // The same address by somebody else.
        status.netlink.0.addresses = vec![address(0)];
        run_cycle(&mut status, &store).await.unwrap();
        assert_eq!(shown().document, None);
    }
}
