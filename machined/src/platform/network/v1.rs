//! Version 1, cloud-init's own: a list of links, name servers and routes.

use std::net::IpAddr;

use config::kinds::{self, Addressing, BondMode, HashPolicy, LacpRate, Match, Route};
use config::{Check, Document, Mac, Text};
use serde::Deserialize;
use serde_json::Value;

use super::word::{self, Many};
use super::{Found, quiet};

/// What an entry is.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Type {
    Physical,
    Bond,
    Vlan,
    Nameserver,
    Route,
    Loopback,
    Bridge,
    Infiniband,
}

/// An entry: the fields of all types.
#[derive(Deserialize)]
pub(super) struct Item {
    r#type: Type,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    mac_address: Option<Mac>,
    #[serde(default)]
    mtu: Option<u32>,
    #[serde(default, rename = "accept-ra", alias = "accept_ra")]
    accept_ra: Option<bool>,
    #[serde(default)]
    subnets: Vec<Subnet>,
    #[serde(default)]
    bond_interfaces: Vec<String>,
    #[serde(default)]
    params: Params,
    #[serde(default)]
    vlan_link: Option<String>,
    #[serde(default)]
    vlan_id: Option<u16>,
    #[serde(default)]
    address: Many<IpAddr>,
    #[serde(default)]
    search: Many<String>,
    #[serde(default)]
    destination: Option<String>,
    #[serde(default)]
    netmask: Option<Text>,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    metric: Option<u32>,
    #[serde(default, rename = "wakeonlan")]
    _wakeonlan: Option<bool>,
    /// Known, and of types that we have not.
    #[serde(default)]
    bridge_interfaces: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Params {
    #[serde(rename = "bond-mode", alias = "bond_mode")]
    mode: Option<BondMode>,
    #[serde(rename = "bond-miimon", alias = "bond_miimon")]
    miimon: Option<Text>,
    #[serde(rename = "bond-lacp-rate", alias = "bond_lacp_rate", alias = "bond-lacp_rate")]
    lacp_rate: Option<LacpRate>,
    #[serde(rename = "bond-xmit-hash-policy", alias = "bond_xmit_hash_policy", alias = "bond-xmit_hash_policy")]
    hash_policy: Option<HashPolicy>,
    #[serde(rename = "bond-primary", alias = "bond_primary")]
    primary: Option<String>,
}

/// How a link gets an address.
#[derive(Deserialize)]
struct Subnet {
    r#type: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    netmask: Option<Text>,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    dns_nameservers: Many<IpAddr>,
    #[serde(default)]
    dns_search: Many<String>,
    #[serde(default)]
    routes: Vec<To>,
    #[serde(default)]
    control: Option<String>,
    #[serde(default)]
    metric: Option<u32>,
    #[serde(default)]
    mtu: Option<u32>,
    /// What newer tools say beside `static`.
    #[serde(default, rename = "ipv4")]
    _ipv4: Option<bool>,
    #[serde(default, rename = "ipv6")]
    _ipv6: Option<bool>,
}

#[derive(Deserialize)]
struct To {
    #[serde(alias = "network", alias = "to")]
    destination: String,
    #[serde(default, alias = "prefix")]
    netmask: Option<Text>,
    #[serde(alias = "via", default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    metric: Option<u32>,
}

pub(super) fn turn(items: Vec<Item>, at: &str, found: &mut Found, check: &mut Check<'_>) {
    for (i, item) in items.iter().enumerate() {
        let at = format!("{at}[{i}]");
        if item.bridge_interfaces.is_some() || matches!(item.r#type, Type::Bridge | Type::Infiniband) {
            check.problem(&format!("{at}.type"), "Stele has no document for this: physical, bond and vlan it has");
            continue;
        }
        match item.r#type {
            Type::Nameserver => found.ask(item.address.list(), item.search.list()),
            Type::Loopback => item.loopback(&at, found, check),
            // No links.
            Type::Route | Type::Bridge | Type::Infiniband => {}
            Type::Physical | Type::Bond | Type::Vlan => item.link(&at, found, check),
        }
    }
    let bonded: Vec<&String> = items.iter().flat_map(|item| &item.bond_interfaces).collect();
    for document in &mut found.documents {
        let enslaved = document.name.as_ref().is_some_and(|name| bonded.contains(&name));
        if let Some(addressing) = addressing(document).filter(|_| enslaved) {
            addressing.accept_ra = false;
        }
    }
    for (i, item) in items.iter().enumerate().filter(|(_, item)| item.r#type == Type::Route) {
        item.route(&format!("{at}[{i}]"), found, check);
    }
}

fn addressing(document: &mut Document) -> Option<&mut Addressing> {
    match &mut document.body {
        config::Body::Link(link) => Some(&mut link.addressing),
        config::Body::Bond(bond) => Some(&mut bond.addressing),
        config::Body::Vlan(vlan) => Some(&mut vlan.addressing),
        _ => None,
    }
}

impl Item {
    fn link(&self, at: &str, found: &mut Found, check: &mut Check<'_>) {
        let Some(name) = &self.name else {
            check.problem(at, "the field name is missing");
            return;
        };
        let addressing = self.addressing(at, found, check);
        match self.r#type {
            Type::Bond => {
                let Params { mode, miimon, lacp_rate, hash_policy, primary } = &self.params;
                let every = miimon.as_ref().map_or(Some(100), |text| text.parse().ok());
                check.need(&format!("{at}.params.bond-miimon"), every.is_some(), "expected milliseconds");
                check.need(
                    &format!("{at}.mac_address"),
                    self.mac_address.is_none(),
                    "Stele's bonds take the address of a link: take it out",
                );
                let body = kinds::Bond {
                    links: self.bond_interfaces.clone(),
                    mode: mode.unwrap_or(BondMode::BalanceRr),
                    miimon: every.unwrap_or(100),
                    lacp_rate: *lacp_rate,
                    hash_policy: *hash_policy,
                    primary: primary.clone(),
                    addressing,
                };
                found.add(name, body);
            }
            Type::Vlan => {
                let (Some(link), Some(id)) = (&self.vlan_link, self.vlan_id) else {
                    check.problem(at, "expected vlan_link and vlan_id");
                    return;
                };
                found.add(name, kinds::Vlan { link: link.clone(), id, addressing });
            }
            _ => {
                let selector = self.mac_address.map(|mac| Match { mac: Some(mac), ..Match::default() });
                found.add(name, kinds::Link { selector, up: true, addressing });
            }
        }
    }

    /// Every machine has it, and gives it nothing more; some tools write the name servers here.
    fn loopback(&self, at: &str, found: &mut Found, check: &mut Check<'_>) {
        for (i, subnet) in self.subnets.iter().enumerate() {
            found.ask(subnet.dns_nameservers.list(), subnet.dns_search.list());
            let more = subnet.address.is_some() || subnet.gateway.is_some() || !subnet.routes.is_empty();
            let plain = subnet.r#type == "loopback" && !more;
            let message = "Stele gives lo no addresses and routes beside the kernel's: expected type: loopback alone";
            check.need(&format!("{at}.subnets[{i}]"), plain, message);
        }
    }

    fn addressing(&self, at: &str, found: &mut Found, check: &mut Check<'_>) -> Addressing {
        let mut addressing = Addressing { mtu: self.mtu, accept_ra: self.accept_ra.unwrap_or(true), ..quiet() };
        for (i, subnet) in self.subnets.iter().enumerate() {
            let at = format!("{at}.subnets[{i}]");
            subnet.turn(&at, &mut addressing, check);
            found.ask(subnet.dns_nameservers.list(), subnet.dns_search.list());
        }
        addressing
    }

    /// A route of the machine: of the link whose network its gateway is in.
    fn route(&self, at: &str, found: &mut Found, check: &mut Check<'_>) {
        let mask = self.netmask.as_deref();
        let to = self.destination.as_deref().and_then(|to| word::network(to, mask));
        let (Some(to), Some(via)) = (to, self.gateway) else {
            check.problem(at, "expected destination (with netmask) and gateway");
            return;
        };
        let mut links = found.documents.iter_mut().filter_map(addressing);
        match links.find(|link| link.addresses.iter().any(|net| net.contains(&via))) {
            Some(link) => link.routes.push(Route { to, via: Some(via), metric: self.metric }),
            None => check
                .problem(&format!("{at}.gateway"), "it is in the network of no link: write the route below a subnet"),
        }
    }
}

impl Subnet {
    fn turn(&self, at: &str, link: &mut Addressing, check: &mut Check<'_>) {
        let by_hand = self.control.as_deref().is_none_or(|control| control == "auto");
        check.need(&format!("{at}.control"), by_hand, "nobody is there to do it by hand: expected auto");
        match &*self.r#type {
            "dhcp" | "dhcp4" => link.dhcp4 = Some(true),
            "dhcp6" | "ipv6_dhcpv6-stateful" => link.dhcp6 = true,
            "ipv6_dhcpv6-stateless" => check.problem(
                &format!("{at}.type"),
                "Stele takes nothing by DHCPv6 without an address: write ipv6_slaac, and the name servers as dns_nameservers",
            ),
            "ipv6_slaac" => link.accept_ra = true,
            "manual" => {}
            "static" | "static6" => {
                let mask = self.netmask.as_deref();
                match self.address.as_deref().and_then(|address| word::net(address, mask)) {
                    Some(net) => link.addresses.push(net),
                    None => check.problem(at, "expected address as 192.0.2.5/24, or with netmask beside it"),
                }
            }
            _ => check.problem(&format!("{at}.type"), "expected dhcp, dhcp4, dhcp6, static, static6, ipv6_slaac, ipv6_dhcpv6-stateful or manual"),
        }
        link.mtu = link.mtu.or(self.mtu);
        link.metric = link.metric.or(self.metric);
        link.routes.extend(self.gateway.map(word::default_route));
        for (i, route) in self.routes.iter().enumerate() {
            match word::network(&route.destination, route.netmask.as_deref()) {
                Some(to) => link.routes.push(Route { to, via: route.gateway, metric: route.metric }),
                None => check.problem(
                    &format!("{at}.routes[{i}]"),
                    "expected destination as 198.51.100.0/24, or with netmask beside it",
                ),
            }
        }
    }
}
