//! The plan against a model of the kernel: what it plans can be done, reaches what is wanted, and then nothing is left.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::controllers::network::netlink::AddressState;
use crate::resources::address::AddressScope;
use crate::resources::link::{LinkKind, OperState};

/// Does a change as the kernel would, and fails where it would refuse.
fn apply(observed: &mut Observed, change: Change) {
    let link =
        |observed: &Observed, name: &str| observed.links.iter().position(|link| link.name == name).expect("ENODEV");
    match change {
        Change::SetUp { link: name, up } => {
            let at = link(observed, &name);
            observed.links[at].up = up;
            if !up {
                observed.routes.retain(|route| route.link != name);
            }
        }
        Change::SetMtu { link: name, mtu } => {
            let at = link(observed, &name);
            let (least, most) = observed.links[at].mtu_limits;
            assert!(mtu >= least && most.is_none_or(|most| mtu <= most), "EINVAL");
            observed.links[at].mtu = mtu;
        }
        Change::SetAcceptRa { link: name, value } => {
            let at = link(observed, &name);
            observed.links[at].accept_ra = Some(value);
        }
        Change::AddAddress { link: name, address } => {
            link(observed, &name);
            assert!(!observed.addresses.iter().any(|a| a.link == name && a.address == address), "EEXIST");
            observed.addresses.push(address_state(&name, address, OURS));
        }
        Change::RemoveAddress { link: name, address } => {
            let at =
                observed.addresses.iter().position(|a| a.link == name && a.address == address).expect("EADDRNOTAVAIL");
            assert_eq!(observed.addresses.remove(at).protocol, OURS);
        }
        Change::RemoveRoute(route) => {
            let at = observed.routes.iter().position(|have| *have == route).expect("ESRCH");
            assert_eq!(observed.routes.remove(at).protocol, OURS);
        }
        Change::AddRoute { route, replace } => {
            let at = link(observed, &route.link);
            assert!(observed.links[at].up, "ENETDOWN");
            let same = |have: &RouteState| {
                have.destination == route.destination && have.metric == route.metric && have.link == route.link
            };
            if let Some(at) = observed.routes.iter().position(same) {
                assert!(replace, "EEXIST");
                assert_eq!(observed.routes.remove(at).protocol, OURS);
            }
            observed.routes.push(route);
        }
    }
}

fn address_state(link: &str, address: IpNet, protocol: u8) -> AddressState {
    let scope = AddressScope::Global;
    AddressState { link: link.into(), address, scope, protocol, tentative: false, deprecated: false }
}

fn link_state(name: &str, up: bool, mtu: u32, accept_ra: u8) -> LinkState {
    LinkState {
        index: 2,
        name: name.into(),
        kind: LinkKind::Physical,
        virtual_kind: String::new(),
        mac: vec![2; 6],
        mtu,
        mtu_limits: (68, Some(1401)),
        up,
        carrier: up,
        oper_state: OperState::Up,
        controller: None,
        accept_ra: Some(accept_ra),
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["eth0", "eth1", "veth7"]
}

fn net() -> impl Strategy<Value = IpNet> {
    (0u8..3, prop_oneof![Just(0u8), Just(16), Just(24)])
        .prop_map(|(octet, len)| IpNet::new(IpAddr::V4(Ipv4Addr::new(10, octet, 0, 0)), len).unwrap().trunc())
}

fn gateway() -> impl Strategy<Value = Option<IpAddr>> {
    proptest::option::of((1u8..3).prop_map(|octet| IpAddr::V4(Ipv4Addr::new(10, 0, 0, octet))))
}

prop_compose! {
    fn observed()(
        links in proptest::collection::btree_map(name(), (any::<bool>(), 1400u32..1402, 0u8..3), 0..3),
        addresses in proptest::collection::vec((name(), net(), prop_oneof![Just(OURS), Just(0), Just(2)]), 0..5),
        routes in proptest::collection::vec((name(), net(), gateway(), 1u32..3), 0..5),
    ) -> Observed {
        let links = links.into_iter().map(|(name, (up, mtu, ra))| link_state(&name, up, mtu, ra)).collect();
        let mut observed = Observed { links, ..Observed::default() };
        for (link, address, protocol) in addresses {
            let known = observed.links.iter().any(|have| have.name == link);
            if known && !observed.addresses.iter().any(|have| have.link == link && have.address == address) {
                observed.addresses.push(address_state(&link, address, protocol));
            }
        }
        for (link, destination, gateway, metric) in routes {
            let up = observed.links.iter().any(|have| have.name == link && have.up);
            let same = |have: &RouteState| have.link == link && have.destination == destination && have.metric == metric;
            if up && !observed.routes.iter().any(same) {
                let preferred_source = None;
                observed.routes.push(RouteState { link, destination, gateway, preferred_source, metric, protocol: OURS });
            }
        }
        observed
    }
}

prop_compose! {
    fn desired()(
        links in proptest::collection::btree_map(name(), (any::<bool>(), proptest::option::of(60u32..1500), any::<bool>()), 0..3),
        addresses in proptest::collection::btree_set((name(), net()), 0..5),
        routes in proptest::collection::btree_map((name(), net(), 1u32..3), gateway(), 0..5),
    ) -> Desired {
        let spec = |(up, mtu, accept_ra)| LinkSpec { up, mtu, dhcp4: false, accept_ra, metric: 1, ..LinkSpec::default() };
        Desired {
            links: links.into_iter().map(|(name, values)| (name, spec(values))).collect(),
            addresses: addresses.into_iter().map(|(link, address)| AddressSpec { link, address, source: String::new(), origin: None }).collect(),
            routes: routes.into_iter().map(|((link, destination, metric), gateway)| {
                RouteSpec { link, destination, gateway, preferred_source: None, metric, source: String::new(), origin: None }
            }).collect(),
            own_mtus: BTreeMap::new(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_planned_is_reached_and_then_nothing_is_left(desired in desired(), mut observed in observed()) {
        let foreign = |observed: &Observed| -> Vec<AddressState> {
            observed.addresses.iter().filter(|address| address.protocol != OURS).cloned().collect()
        };
        let before = foreign(&observed);
        for change in plan(&desired, &observed) {
            apply(&mut observed, change);
        }
        prop_assert_eq!(plan(&desired, &observed), vec![]);
        prop_assert_eq!(foreign(&observed), before);
        for wanted in &desired.addresses {
            let known = observed.links.iter().any(|link| link.name == wanted.link);
            prop_assert!(!known || observed.addresses.iter().any(|have| have.address == wanted.address && have.link == wanted.link));
        }
    }
}

#[test]
fn a_route_of_somebody_else_stays() {
    let mut observed = Observed { links: vec![link_state("eth0", true, 1500, 2)], ..Observed::default() };
    observed.routes.push(RouteState {
        link: "eth0".into(),
        destination: "10.9.0.0/16".parse().unwrap(),
        gateway: None,
        preferred_source: None,
        metric: 0,
        protocol: 4,
    });
    assert!(plan(&Desired::default(), &observed).is_empty());
}

#[test]
fn an_mtu_is_what_the_driver_takes_and_goes_back_when_nobody_wants_it_any_more() {
    let spec = |mtu| LinkSpec { up: true, mtu, dhcp4: true, accept_ra: true, metric: 1, ..LinkSpec::default() };
    let desired = |mtu, own: &[(u32, u32)]| Desired {
        links: [("eth0".to_owned(), spec(mtu))].into(),
        own_mtus: own.iter().copied().collect(),
        ..Desired::default()
    };
    let observed = |mtu| Observed { links: vec![link_state("eth0", true, mtu, 2)], ..Observed::default() };
    let set = |mtu| vec![Change::SetMtu { link: "eth0".into(), mtu }];
    assert_eq!(plan(&desired(Some(9000), &[]), &observed(1400)), set(1401));
    assert_eq!(plan(&desired(Some(9000), &[]), &observed(1401)), []);
    assert_eq!(plan(&desired(None, &[(2, 1400)]), &observed(1300)), set(1400));
    assert_eq!(plan(&desired(None, &[(3, 1400)]), &observed(1300)), []);
}
