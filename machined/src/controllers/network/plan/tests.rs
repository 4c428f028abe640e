//! The plan against a model of the kernel: what it plans can be done, reaches what is wanted, and then nothing is left.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::controllers::network::netlink::{AddressState, LinkState, OUR_GROUP};
use crate::resources::address::AddressScope;
use crate::resources::link::{LinkKind, OperState};
use crate::resources::virtual_link::{Bond, BondMode, HashPolicy, LacpRate, Virtual, Vlan};

/// A kernel without a kernel. Does a change as the kernel would, and fails where it would refuse.
struct Model(Observed);

impl Model {
    fn at(&mut self, name: &str) -> &mut LinkState {
        self.0.links.iter_mut().find(|link| link.name == name).expect("ENODEV")
    }

    fn vlans(&self, name: &str) -> Vec<String> {
        let index = self.0.links.iter().find(|link| link.name == name).unwrap().index;
        let on = |link: &&LinkState| link.virtual_kind == "vlan" && link.parent == Some(index);
        self.0.links.iter().filter(on).map(|link| link.name.clone()).collect()
    }

    fn ports(&self, name: &str) -> Vec<String> {
        let index = self.0.links.iter().find(|link| link.name == name).unwrap().index;
        self.0.links.iter().filter(|link| link.controller == Some(index)).map(|link| link.name.clone()).collect()
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::CreateLink { link, make } => self.create(&link, make),
            Change::DeleteLink { link } => self.delete(&link),
            Change::ClaimLink { link } => self.at(&link).group = OUR_GROUP,
            Change::ChangeBond { link, bond, rate } => {
                if let Some(primary) = &bond.primary {
                    assert!(bond.has_primary(), "EPERM: no primary in this mode");
                    assert!(self.ports(&link).contains(primary), "kept, not told");
                }
                let at = self.at(&link);
                let Some(Virtual::Bond(have)) = &at.made else { panic!("no bond") };
                assert_eq!(have.mode, bond.mode, "a mode is not changed");
                assert_eq!(have.lacp_rate != bond.lacp_rate, rate, "not told");
                assert!(!rate || (bond.mode == BondMode::Lacp && !at.up), "EPERM, EBUSY");
                at.made = Some(Virtual::Bond(bond));
            }
            Change::SetController { link, controller } => self.set_controller(&link, controller),
            Change::SetUp { link, up } => self.set_up(&link, up),
            Change::SetMtu { link, mtu } => self.set_mtu(&link, mtu),
            Change::SetAcceptRa { link, value } => self.at(&link).accept_ra = Some(value),
            Change::AddAddress { link, address } => {
                self.at(&link);
                assert!(!self.0.addresses.iter().any(|a| a.link == link && a.address == address), "EEXIST");
                self.0.addresses.push(address_state(&link, address, OURS));
            }
            Change::RemoveAddress { link, address } => {
                let found = self.0.addresses.iter().position(|a| a.link == link && a.address == address);
                assert_eq!(self.0.addresses.remove(found.expect("EADDRNOTAVAIL")).protocol, OURS);
            }
            Change::RemoveRoute(route) => {
                let at = self.0.routes.iter().position(|have| *have == route).expect("ESRCH");
                assert_eq!(self.0.routes.remove(at).protocol, OURS);
            }
            Change::AddRoute { route, replace } => {
                assert!(self.at(&route.link).up, "ENETDOWN");
                let same = |have: &RouteState| {
                    have.destination == route.destination && have.metric == route.metric && have.link == route.link
                };
                if let Some(at) = self.0.routes.iter().position(same) {
                    assert!(replace, "EEXIST");
                    assert_eq!(self.0.routes.remove(at).protocol, OURS);
                }
                self.0.routes.push(route);
            }
        }
    }

    fn create(&mut self, name: &str, make: Virtual) {
        assert!(!self.0.links.iter().any(|link| link.name == name), "EEXIST");
        let mut link = link_state(name, false, 1500, 1);
        link.index = self.0.links.iter().map(|link| link.index).max().unwrap_or(1) + 1;
        link.mtu_limits = (68, Some(65_535));
        if let Virtual::Vlan(vlan) = &make {
            let parent = self.at(&vlan.link);
            (link.parent, link.mtu) = (Some(parent.index), parent.mtu);
        }
        let made = match make {
            Virtual::Bond(bond) => Virtual::Bond(Bond { primary: None, ..bond }),
            vlan => vlan,
        };
        link.virtual_kind = made.kind().into();
        (link.kind, link.group, link.made) = (LinkKind::Virtual, OUR_GROUP, Some(made));
        self.0.links.push(link);
    }

    fn delete(&mut self, name: &str) {
        assert_eq!(self.at(name).group, OUR_GROUP);
        for vlan in self.vlans(name) {
            self.at(&vlan).group = OUR_GROUP;
            self.delete(&vlan);
        }
        for port in self.ports(name) {
            self.set_controller(&port, None);
        }
        self.0.links.retain(|link| link.name != name);
        self.0.addresses.retain(|address| address.link != name);
        self.0.routes.retain(|route| route.link != name);
    }

    fn set_controller(&mut self, name: &str, controller: Option<String>) {
        match controller {
            Some(controller) => {
                assert!(!self.at(name).up, "EPERM: Device can not be enslaved while up");
                assert_eq!(self.at(name).controller, None, "EBUSY");
                let (index, mtu) = (self.at(&controller).index, self.at(&controller).mtu);
                let port = self.at(name);
                (port.controller, port.up, port.mtu) = (Some(index), true, mtu);
            }
            None => {
                let index = self.at(name).controller.expect("EINVAL");
                self.at(name).controller = None;
                self.set_up(name, false);
                // The primary port is one of its ports.
                let bond = self.0.links.iter_mut().find(|link| link.index == index).unwrap();
                if let Some(Virtual::Bond(bond)) = &mut bond.made
                    && bond.primary.as_deref() == Some(name)
                {
                    bond.primary = None;
                }
            }
        }
    }

    fn set_up(&mut self, name: &str, up: bool) {
        if let Some(parent) = self.at(name).parent {
            let parent = self.0.links.iter().find(|link| link.index == parent).unwrap();
            assert!(!up || parent.up, "ENETDOWN");
        }
        self.at(name).up = up;
        if !up {
            self.0.routes.retain(|route| route.link != name);
        }
        for vlan in self.vlans(name) {
            self.set_up(&vlan, up);
        }
    }

    fn set_mtu(&mut self, name: &str, mtu: u32) {
        let (least, most) = self.at(name).mtu_limits;
        assert!(mtu >= least && most.is_none_or(|most| mtu <= most), "EINVAL");
        if let Some(parent) = self.at(name).parent {
            let parent = self.0.links.iter().find(|link| link.index == parent).unwrap();
            assert!(mtu <= parent.mtu, "ERANGE");
        }
        self.at(name).mtu = mtu;
        for port in self.ports(name) {
            self.at(&port).mtu = mtu;
        }
        for vlan in self.vlans(name) {
            if self.at(&vlan).mtu > mtu {
                self.set_mtu(&vlan, mtu);
            }
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
        permanent_mac: vec![2; 6],
        group: 0,
        parent: None,
        made: None,
        mtu,
        mtu_limits: (68, Some(1401)),
        up,
        carrier: up,
        carrier_losses: 0,
        oper_state: OperState::Up,
        controller: None,
        active_port: None,
        accept_ra: Some(accept_ra),
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["eth0", "eth1", "veth7", "bond0", "vlan5", "vlan6"]
}

fn bond() -> impl Strategy<Value = Bond> {
    let mode = prop_oneof![Just(BondMode::ActiveBackup), Just(BondMode::Lacp), Just(BondMode::BalanceXor)];
    let rate = prop_oneof![Just(LacpRate::Slow), Just(LacpRate::Fast)];
    let hash = prop_oneof![Just(HashPolicy::Layer2), Just(HashPolicy::Layer34)];
    let primary = proptest::option::of(prop_oneof![Just("eth0".to_owned()), Just("eth1".to_owned())]);
    (mode, rate, hash, primary, 1u32..3).prop_map(|(mode, lacp_rate, hash_policy, primary, miimon)| {
        // What a mode does not have stays as the kernel makes it.
        let lacp_rate = if mode == BondMode::Lacp { lacp_rate } else { LacpRate::Slow };
        let primary = primary.filter(|_| mode == BondMode::ActiveBackup);
        Bond { mode, miimon, lacp_rate, hash_policy, primary }
    })
}

/// What software is wanted to make: by name; ports of the bond.
fn made() -> impl Strategy<Value = (BTreeMap<String, Virtual>, BTreeMap<String, bool>)> {
    let bond = proptest::option::of(bond());
    let vlan = |link: &'static str| {
        proptest::option::of((prop_oneof![Just(link), Just("eth0"), Just("none0")], 5u16..7))
            .prop_map(|vlan| vlan.map(|(link, id)| Virtual::Vlan(Vlan { link: link.to_owned(), id })))
    };
    let ports = proptest::collection::btree_map(prop_oneof!["eth0", "eth1"], any::<bool>(), 0..3);
    (bond, vlan("bond0"), vlan("vlan5"), ports).prop_map(|(bond, first, second, ports)| {
        let bond = bond.map(Virtual::Bond);
        let named = [("bond0", bond), ("vlan5", first), ("vlan6", second)];
        let all = named.into_iter().filter_map(|(name, make)| Some((name.to_owned(), make?)));
        (all.collect(), ports)
    })
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
        links in proptest::collection::btree_map(prop_oneof!["eth0", "eth1", "veth7"], (any::<bool>(), 1400u32..1402, 0u8..3), 0..4),
        (made, ports) in made(),
        foreign in proptest::bool::weighted(0.1),
        addresses in proptest::collection::vec((name(), net(), prop_oneof![Just(OURS), Just(0), Just(2)]), 0..5),
        routes in proptest::collection::vec((name(), net(), gateway(), 1u32..3), 0..5),
    ) -> Observed {
        // There always is `lo`; it shows whether the kernel has IPv6.
        let mut model = Model(Observed { links: vec![link_state("lo", true, 1400, 0)], ..Observed::default() });
        model.0.links[0].index = 1;
        for (at, (name, (up, mtu, ra))) in links.into_iter().enumerate() {
            model.0.links.push(LinkState { index: 2 + u32::try_from(at).unwrap(), ..link_state(&name, up, mtu, ra) });
        }
        // Made as the plan would, so that it is a state a kernel can be in.
        let spec = |make: Option<Virtual>, controller: bool| LinkSpec {
            up: true, make, controller: controller.then(|| "bond0".to_owned()), ..LinkSpec::default()
        };
        let mut links: BTreeMap<_, _> = made.into_iter().map(|(name, make)| (name, spec(Some(make), false))).collect();
        links.extend(ports.into_iter().map(|(name, port)| (name, spec(None, port))));
        let before = Desired { links, ..Desired::default() };
        for change in plan(&before, &model.0) {
            model.apply(change);
        }
        let mut observed = model.0;
        if foreign {
            observed.links.iter_mut().for_each(|link| link.group = 0);
        }
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
        links in proptest::collection::btree_map(name(), (any::<bool>(), proptest::option::of(68u32..1500), any::<bool>()), 0..6),
        (made, ports) in made(),
        addresses in proptest::collection::btree_set((name(), net()), 0..5),
        routes in proptest::collection::btree_map((name(), net(), 1u32..3), gateway(), 0..5),
    ) -> Desired {
        let spec = |(up, mtu, accept_ra)| LinkSpec { up, mtu, accept_ra, metric: 1, ..LinkSpec::default() };
        let mut links: BTreeMap<String, LinkSpec> = links.into_iter().map(|(name, values)| (name, spec(values))).collect();
        for (name, make) in made {
            links.entry(name).or_insert_with(|| spec((true, None, true))).make = Some(make);
        }
        for (name, port) in ports {
            let link = links.entry(name).or_insert_with(|| spec((true, None, true)));
            link.controller = port.then(|| "bond0".to_owned());
        }
        Desired {
            links,
            addresses: addresses.into_iter().map(|(link, address)| AddressSpec { link, address, source: String::new(), origin: None }).collect(),
            routes: routes.into_iter().map(|((link, destination, metric), gateway)| {
                RouteSpec { link, destination, gateway, preferred_source: None, metric, source: String::new(), origin: None }
            }).collect(),
            own_mtus: BTreeMap::new(),
        }
    }
}

/// What the plan promises of links, addresses and routes that can be.
fn reached(desired: &Desired, observed: &Observed) {
    let find = |name: &str| observed.links.iter().find(|link| link.name == name);
    for (name, spec) in &desired.links {
        let Some(link) = find(name) else {
            let Some(Virtual::Vlan(vlan)) = &spec.make else {
                assert!(spec.make.is_none(), "{name} was not made");
                continue;
            };
            assert!(find(&vlan.link).is_none(), "{name} was not made");
            continue;
        };
        if link.group == OUR_GROUP {
            match (&spec.make, &link.made) {
                (Some(Virtual::Vlan(wanted)), Some(Virtual::Vlan(have))) => assert_eq!(wanted, have),
                (Some(Virtual::Bond(wanted)), Some(Virtual::Bond(have))) => {
                    assert_eq!((wanted.mode, wanted.miimon), (have.mode, have.miimon));
                    assert_eq!((wanted.lacp_rate, wanted.hash_policy), (have.lacp_rate, have.hash_policy));
                }
                other => panic!("{other:?}"),
            }
        }
        let bond = spec
            .controller
            .as_deref()
            .and_then(find)
            .filter(|bond| bond.virtual_kind == "bond" && bond.group == OUR_GROUP);
        if let Some(bond) = bond {
            assert_eq!(link.controller, Some(bond.index));
        }
        let parent = observed.links.iter().find(|have| link.virtual_kind == "vlan" && Some(have.index) == link.parent);
        assert_eq!(link.up, spec.up && parent.is_none_or(|parent| parent.up), "{name}");
    }
    for link in observed.links.iter().filter(|link| link.group == OUR_GROUP) {
        assert!(desired.links.get(&link.name).is_some_and(|spec| spec.make.is_some()), "{} is left over", link.name);
    }
    for wanted in &desired.addresses {
        let there = observed.addresses.iter().any(|have| have.address == wanted.address && have.link == wanted.link);
        assert!(there || find(&wanted.link).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn what_is_planned_is_reached_and_then_nothing_is_left(desired in desired(), observed in observed()) {
        let foreign = |observed: &Observed| -> Vec<AddressState> {
            let of_ours = |name: &str| observed.links.iter().any(|link| link.name == name && link.made.is_some());
            let foreign = observed.addresses.iter().filter(|address| address.protocol != OURS && !of_ours(&address.link));
            foreign.cloned().collect()
        };
        let before = foreign(&observed);
        let mut model = Model(observed);
        for change in plan(&desired, &model.0) {
            model.apply(change);
        }
        prop_assert_eq!(plan(&desired, &model.0), vec![]);
        prop_assert_eq!(foreign(&model.0), before);
        reached(&desired, &model.0);
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

#[test]
fn what_a_router_gave_goes_from_a_link_that_shall_not_listen_to_it() {
    let address = |link: &str, protocol| address_state(link, "2001:db8::7/64".parse().unwrap(), protocol);
    let route = |link: &str, protocol| RouteState {
        link: link.into(),
        destination: "::/0".parse().unwrap(),
        gateway: Some("fe80::1".parse().unwrap()),
        preferred_source: None,
        metric: 1024,
        protocol,
    };
    let mut observed = Observed {
        links: vec![link_state("eth0", true, 1400, 2), link_state("eth1", true, 1400, 2)],
        // 3 is the kernel's own link-local address.
        addresses: vec![address("eth0", 2), address("eth1", 2), address("eth0", 3)],
        routes: vec![route("eth0", 9), route("eth1", 9), route("eth0", 2)],
    };
    observed.links[1].index = 3;
    let spec = |accept_ra| LinkSpec { up: true, accept_ra, metric: 1, ..LinkSpec::default() };
    let links = [("eth0".to_owned(), spec(false)), ("eth1".to_owned(), spec(true))].into();
    let desired = Desired { links, ..Desired::default() };
    let expected = [
        Change::SetAcceptRa { link: "eth0".into(), value: 0 },
        Change::RemoveRoute(route("eth0", 9)),
        Change::RemoveAddress { link: "eth0".into(), address: "2001:db8::7/64".parse().unwrap() },
    ];
    assert_eq!(plan(&desired, &observed), expected);
    // And so after a restart in between.
    observed.links[0].accept_ra = Some(0);
    assert_eq!(plan(&desired, &observed), expected[1..]);
}

#[test]
fn an_ipv6_address_that_somebody_else_has_with_another_prefix_length_is_there() {
    let address = |text: &str, protocol| address_state("eth0", text.parse().unwrap(), protocol);
    let spec = LinkSpec { up: true, accept_ra: true, metric: 1, ..LinkSpec::default() };
    let address_spec = AddressSpec {
        link: "eth0".into(),
        address: "2001:db8::7/128".parse().unwrap(),
        source: String::new(),
        origin: None,
    };
    let desired =
        Desired { links: [("eth0".into(), spec)].into(), addresses: vec![address_spec], ..Desired::default() };
    let observed = |have| Observed {
        links: vec![link_state("eth0", true, 1400, 2)],
        addresses: vec![have],
        ..Observed::default()
    };
    assert_eq!(plan(&desired, &observed(address("2001:db8::7/64", 2))), []);
    // One of ours is replaced.
    let link = || "eth0".to_owned();
    let expected = [
        Change::RemoveAddress { link: link(), address: "2001:db8::7/64".parse().unwrap() },
        Change::AddAddress { link: link(), address: "2001:db8::7/128".parse().unwrap() },
    ];
    assert_eq!(plan(&desired, &observed(address("2001:db8::7/64", OURS))), expected);
}
