//! From rtnetlink's messages to what the controllers look at. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope as KernelScope};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoData, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, State,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType};

use crate::controllers::network::netlink::{AddressState, LinkState, RouteState};
use crate::resources::address::AddressScope;
use crate::resources::link::{LinkKind, OperState};
use crate::resources::virtual_link::{Virtual, Vlan};

use super::made;

/// Names by number.
pub(super) type Names = BTreeMap<u32, String>;

pub(super) fn names(links: &[LinkMessage]) -> Names {
    links.iter().map(|message| (message.header.index, name(message))).collect()
}

fn name(message: &LinkMessage) -> String {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.unwrap_or_default()
}

pub(super) fn link(message: &LinkMessage, names: &Names) -> LinkState {
    let flags = message.header.flags;
    let mut link = LinkState {
        index: message.header.index,
        name: name(message),
        kind: LinkKind::Other,
        virtual_kind: String::new(),
        mac: Vec::new(),
        permanent_mac: Vec::new(),
        group: 0,
        parent: None,
        made: None,
        mtu: 0,
        mtu_limits: (0, None),
        up: flags.contains(LinkFlags::Up),
        // The attribute IFLA_CARRIER also says yes while the link is off; the flag is true only when both are.
        carrier: flags.contains(LinkFlags::LowerUp),
        carrier_losses: 0,
        oper_state: OperState::Unknown,
        controller: None,
        active_port: None,
        accept_ra: None,
    };
    let mut vlan = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(mac) => link.mac.clone_from(mac),
            LinkAttribute::PermAddress(mac) => link.permanent_mac.clone_from(mac),
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::Link(index) => link.parent = Some(*index),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::MinMtu(least) => link.mtu_limits.0 = *least,
            // 0 means that there is no limit.
            LinkAttribute::MaxMtu(most) => link.mtu_limits.1 = (*most > 0).then_some(*most),
            LinkAttribute::CarrierDownCount(count) => link.carrier_losses = *count,
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::OperState(state) => link.oper_state = oper_state(*state),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.virtual_kind = kind.to_string(),
                        LinkInfo::Data(InfoData::Bond(infos)) => {
                            link.made = made::bond(infos, names);
                            link.active_port = made::active_port(infos);
                        }
                        LinkInfo::Data(InfoData::Vlan(infos)) => vlan = made::vlan_id(infos),
                        _ => {}
                    }
                }
            }
            LinkAttribute::AfSpecUnspec(specs) => link.accept_ra = accept_ra(specs).or(link.accept_ra),
            _ => {}
        }
    }
    // Its parent may come after its number.
    if let Some(id) = vlan {
        let parent = link.parent.and_then(|index| names.get(&index).cloned()).unwrap_or_default();
        link.made = Some(Virtual::Vlan(Vlan { link: parent, id }));
    }
    link.kind = if flags.contains(LinkFlags::Loopback) {
        LinkKind::Loopback
    } else if !link.virtual_kind.is_empty() {
        LinkKind::Virtual
    } else if message.header.link_layer_type == LinkLayerType::Ether {
        LinkKind::Physical
    } else {
        LinkKind::Other
    };
    link
}

fn oper_state(state: State) -> OperState {
    match state {
        State::NotPresent => OperState::NotPresent,
        State::Down => OperState::Down,
        State::LowerLayerDown => OperState::LowerLayerDown,
        State::Testing => OperState::Testing,
        State::Dormant => OperState::Dormant,
        State::Up => OperState::Up,
        _ => OperState::Unknown,
    }
}

fn accept_ra(specs: &[AfSpecUnspec]) -> Option<u8> {
    specs.iter().find_map(|spec| {
        let AfSpecUnspec::Inet6(of_ipv6) = spec else { return None };
        of_ipv6.iter().find_map(|item| match item {
            AfSpecInet6::DevConf(settings) => u8::try_from(settings.accept_ra).ok(),
            _ => None,
        })
    })
}

pub(super) fn address(message: &AddressMessage, names: &Names) -> Option<AddressState> {
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let (mut address, mut local, mut protocol) = (None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(value) => address = Some(*value),
            AddressAttribute::Local(value) => local = Some(*value),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(value) => protocol = u8::from(*value),
            _ => {}
        }
    }
    Some(AddressState {
        link: names.get(&message.header.index)?.clone(),
        // On a point-to-point link "address" is the other end.
        address: IpNet::new(local.or(address)?, message.header.prefix_len).ok()?,
        scope: match message.header.scope {
            KernelScope::Host | KernelScope::Nowhere => AddressScope::Host,
            KernelScope::Link => AddressScope::Link,
            _ => AddressScope::Global,
        },
        protocol,
        tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
            && !flags.contains(AddressFlags::Optimistic),
        deprecated: flags.contains(AddressFlags::Deprecated),
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// The unicast routes of the main table, each next hop as one.
pub(super) fn routes(message: &RouteMessage, names: &Names, found: &mut Vec<RouteState>) {
    let table = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let of_main = table.unwrap_or(u32::from(message.header.table)) == u32::from(RouteHeader::RT_TABLE_MAIN);
    if !of_main || message.header.kind != RouteType::Unicast || message.header.flags.contains(RouteFlags::Cloned) {
        return;
    }
    let everywhere = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return,
    };
    let (mut destination, mut hops) = (everywhere, Vec::new());
    let (mut preferred_source, mut metric) = (None, 0);
    let (mut out, mut gateway) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address).unwrap_or(everywhere),
            RouteAttribute::PrefSource(address) => preferred_source = ip(address),
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::Oif(index) => out = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::MultiPath(several) => hops.extend(several.iter().map(|hop| {
                let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Gateway(address) => ip(address),
                    _ => None,
                });
                (Some(hop.interface_index), gateway)
            })),
            _ => {}
        }
    }
    if hops.is_empty() {
        hops.push((out, gateway));
    }
    let Ok(destination) = IpNet::new(destination, message.header.destination_prefix_length) else { return };
    found.extend(hops.into_iter().map(|(out, gateway)| RouteState {
        link: out.and_then(|index| names.get(&index).cloned()).unwrap_or_default(),
        destination,
        gateway,
        preferred_source,
        metric,
        protocol: u8::from(message.header.protocol),
    }));
}
