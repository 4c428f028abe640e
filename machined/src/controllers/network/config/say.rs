//! From a document's fields to link configuration. Pure.

use std::net::IpAddr;

use config::Destination;
use config::kinds::{Addressing, BondMode, HashPolicy, LacpRate, Route};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::resources::link_config::{LinkConfig, RouteConfig, Source};
use crate::resources::origin::Origin;
use crate::resources::virtual_link::{Bond, Virtual, Vlan};

/// What a bond that a document describes is like; `primary` is a link by now.
pub(super) fn bond(wanted: &config::kinds::Bond, primary: Option<String>) -> Virtual {
    let lacp = wanted.mode == BondMode::Lacp;
    Virtual::Bond(Bond {
        mode: wanted.mode,
        miimon: wanted.miimon,
        // The kernel's own values, so that taking a line out of a document has an effect.
        lacp_rate: wanted.lacp_rate.filter(|_| lacp).unwrap_or(LacpRate::Slow),
        hash_policy: wanted.hash_policy.unwrap_or(HashPolicy::Layer2),
        primary,
    })
}

/// What a VLAN on this link is like.
pub(super) fn vlan(wanted: &config::kinds::Vlan, link: String) -> Virtual {
    Virtual::Vlan(Vlan { link, id: wanted.id })
}

/// A link that is on and gets its addresses so.
pub(super) fn addressed(link: &str, addressing: &Addressing, origin: &Origin) -> LinkConfig {
    let mut config = LinkConfig::new(Source::Config, link);
    config.up = Some(true);
    config.dhcp4 = Some(addressing.dhcp4());
    config.dhcp6 = Some(addressing.dhcp6);
    config.accept_ra = Some(addressing.accept_ra);
    config.addresses = addressing.addresses.iter().map(|address| address.0).collect();
    config.mtu = addressing.mtu;
    config.metric = addressing.metric;
    let routes: Vec<RouteConfig> = addressing.routes.iter().map(route).collect();
    config.routes = to_gateways(&config.addresses, &routes).into_iter().chain(routes).collect();
    config.origin = Some(origin.clone());
    config
}

/// A port of a bond: it is on, and what it carries is the bond's.
pub(super) fn port(link: &str, bond: &str, origin: &Origin) -> LinkConfig {
    let mut config = LinkConfig::new(Source::Config, link);
    config.up = Some(true);
    config.controller = Some(bond.to_owned());
    config.dhcp4 = Some(false);
    config.dhcp6 = Some(false);
    config.accept_ra = Some(false);
    config.origin = Some(origin.clone());
    config
}

fn route(route: &Route) -> RouteConfig {
    let destination = match (route.to, route.via) {
        (Destination::Net(net), _) => net,
        (Destination::Default, Some(IpAddr::V6(_))) => IpNet::V6(Ipv6Net::default()),
        (Destination::Default, _) => IpNet::V4(Ipv4Net::default()),
    };
    RouteConfig { destination, gateway: route.via, metric: route.metric }
}

/// Gateways that no network of the link's own addresses holds, and no route of the document puts on the link (clouds give /32
/// addresses): the kernel takes no route by a gateway it cannot reach directly. Where the addresses come from somebody else,
/// that one says where the gateways are.
fn to_gateways(addresses: &[IpNet], routes: &[RouteConfig]) -> Vec<RouteConfig> {
    let on_link = routes.iter().filter(|route| route.gateway.is_none()).map(|route| route.destination);
    let near: Vec<IpNet> = on_link.chain(addresses.iter().copied()).collect();
    let mut far: Vec<RouteConfig> = Vec::new();
    for gateway in routes.iter().filter_map(|route| route.gateway) {
        let local = matches!(gateway, IpAddr::V6(gateway) if gateway.is_unicast_link_local());
        let ours = addresses.iter().any(|address| address.addr().is_ipv4() == gateway.is_ipv4());
        let known = far.iter().any(|route| route.destination.addr() == gateway);
        if ours && !local && !known && !near.iter().any(|net| net.contains(&gateway)) {
            far.push(RouteConfig { destination: IpNet::from(gateway), gateway: None, metric: None });
        }
    }
    far
}
