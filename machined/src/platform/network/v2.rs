//! Version 2, which is Netplan's. Ids name what others refer to; with `match` they are names of no link.

use std::collections::BTreeMap;
use std::net::IpAddr;

use config::kinds::{self, Addressing, BondMode, HashPolicy, LacpRate, Match, Route};
use config::{Check, Destination, Mac, Net, Text};
use serde::Deserialize;
use serde_json::Value;

use super::{Found, word};

/// Declares a kind of link with what all have; not by `flatten`, which forgets where a value stood.
macro_rules! link {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "kebab-case", default)]
        pub(super) struct $name {
            $($(#[$meta])* $field: $type,)*
            dhcp4: Option<bool>,
            dhcp6: Option<bool>,
            accept_ra: Option<bool>,
            addresses: Vec<Net>,
            gateway4: Option<IpAddr>,
            gateway6: Option<IpAddr>,
            nameservers: Names,
            routes: Vec<To>,
            mtu: Option<u32>,
            dhcp4_overrides: Option<Overrides>,
            dhcp6_overrides: Option<Overrides>,
            link_local: Option<Vec<String>>,
            #[serde(rename = "renderer")]
            _renderer: Option<String>,
            #[serde(rename = "optional")]
            _optional: Option<bool>,
            #[serde(rename = "critical")]
            _critical: Option<bool>,
            #[serde(rename = "dhcp-identifier")]
            _identifier: Option<String>,
        }

        impl $name {
            fn addressing(&self, at: &str, found: &mut Found, check: &mut Check<'_>) -> Addressing {
                found.ask(&self.nameservers.addresses, &self.nameservers.search);
                let gateways = [self.gateway4, self.gateway6].into_iter().flatten().map(word::default_route);
                let mut routes: Vec<Route> = gateways.collect();
                for (i, route) in self.routes.iter().enumerate() {
                    for route in route.turn(&format!("{at}.routes[{i}]"), &self.addresses, check) {
                        // The way to a gateway, which several routes may have.
                        if !routes.contains(&route) || route.via.is_some() {
                            routes.push(route);
                        }
                    }
                }
                let local = self.link_local.as_ref().is_none_or(|all| *all == ["ipv6"]);
                let message = "Stele's links have a link-local address of IPv6, and none of IPv4: expected [ipv6]";
                check.need(&format!("{at}.link-local"), local, message);
                for (key, of, ntp) in [("dhcp4", &self.dhcp4_overrides, true), ("dhcp6", &self.dhcp6_overrides, false)] {
                    if let Some(of) = of {
                        let own = (!self.nameservers.addresses.is_empty(), self.mtu.is_some());
                        of.check(&format!("{at}.{key}-overrides"), ntp, own, check);
                    }
                }
                let metric = |of: &Option<Overrides>| of.as_ref().and_then(|of| of.route_metric);
                Addressing {
                    dhcp4: Some(self.dhcp4.unwrap_or(false)),
                    dhcp6: self.dhcp6.unwrap_or(false),
                    accept_ra: self.accept_ra.unwrap_or(true),
                    addresses: self.addresses.clone(),
                    routes,
                    mtu: self.mtu,
                    metric: metric(&self.dhcp4_overrides).or(metric(&self.dhcp6_overrides)),
                }
            }
        }
    };
}

link! { Ethernet {
    #[serde(rename = "match")]
    selector: Option<Selector>,
    set_name: Option<String>,
    #[serde(rename = "wakeonlan")]
    _wakeonlan: Option<bool>,
} }
link! { Bond {
    interfaces: Vec<String>,
    parameters: Parameters,
} }
link! { Vlan {
    id: Option<u16>,
    link: Option<String>,
} }

#[derive(Deserialize, Default)]
#[serde(default)]
struct Selector {
    macaddress: Option<Mac>,
    driver: Option<word::Many<String>>,
    name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Names {
    addresses: Vec<IpAddr>,
    search: Vec<String>,
}

/// What is taken from DHCP. To say what Stele does anyway changes nothing.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Overrides {
    route_metric: Option<u32>,
    use_hostname: Option<bool>,
    use_ntp: Option<bool>,
    use_dns: Option<bool>,
    use_routes: Option<bool>,
    use_mtu: Option<bool>,
}

impl Overrides {
    /// Where the link has name servers and an MTU of its own, DHCP's do not count.
    fn check(&self, at: &str, ntp: bool, own: (bool, bool), check: &mut Check<'_>) {
        let hostname = self.use_hostname != Some(true);
        check.need(
            &format!("{at}.use-hostname"),
            hostname,
            "Stele takes no host name from DHCP: write local-hostname in meta-data, or a Hostname document",
        );
        for (key, value, own, instead) in [
            ("use-dns", self.use_dns, own.0, "write nameservers, which count in their place"),
            ("use-routes", self.use_routes, false, "take this out, and your own routes count first"),
            ("use-mtu", self.use_mtu, own.1, "write mtu, which counts in its place"),
        ] {
            if value == Some(false) && !own {
                check.problem(&format!("{at}.{key}"), format!("Stele takes what DHCP says of it: {instead}"));
            }
        }
        let message = match ntp {
            true => "Stele asks the time servers that DHCP names unless a Time document names others: write one",
            false => "Stele takes no time servers from DHCPv6: write a Time document",
        };
        check.need(&format!("{at}.use-ntp"), self.use_ntp.is_none_or(|use_ntp| use_ntp == ntp), message);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct To {
    to: String,
    via: Option<IpAddr>,
    metric: Option<u32>,
    on_link: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Parameters {
    mode: Option<BondMode>,
    mii_monitor_interval: Option<Text>,
    lacp_rate: Option<LacpRate>,
    transmit_hash_policy: Option<HashPolicy>,
    primary: Option<String>,
    // Names that version 2 has beside, with what they would change.
    fail_over_mac_policy: Option<Value>,
}

impl To {
    /// The route, after the way to its gateway where that is said to be on the link and in none of the link's networks.
    fn turn(&self, at: &str, addresses: &[Net], check: &mut Check<'_>) -> Vec<Route> {
        let Some(to) = word::destination(&self.to, None) else {
            check.problem(&format!("{at}.to"), "expected a network such as 198.51.100.0/24, or default");
            return Vec::new();
        };
        let local = |via: &IpAddr| matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
        let near = |via: &IpAddr| local(via) || addresses.iter().any(|net| net.contains(via));
        let far = self.via.filter(|via| self.on_link == Some(true) && !near(via));
        let way = far.map(|via| Route { to: Destination::Net(via.into()), via: None, metric: self.metric });
        way.into_iter().chain([Route { to, via: self.via, metric: self.metric }]).collect()
    }
}

type Links = (BTreeMap<String, Ethernet>, BTreeMap<String, Bond>, BTreeMap<String, Vlan>);

pub(super) fn turn((ethernets, bonds, vlans): Links, below: &str, found: &mut Found, check: &mut Check<'_>) {
    // What others call a link by, and what our documents call it.
    let mut names: BTreeMap<&str, &str> = bonds.keys().chain(vlans.keys()).map(|id| (&**id, &**id)).collect();
    for (id, link) in &ethernets {
        names.insert(id, link.name(id));
    }
    let enslaved = |id: &str| bonds.values().any(|bond| bond.interfaces.iter().any(|link| link == id));
    for (id, link) in &ethernets {
        let at = format!("{below}ethernets.{id}");
        let selector = link.selector.as_ref().and_then(|of| of.turn(&at, check));
        // Without a match the id is the link's own name, which nobody changes.
        let renamed = link.set_name.as_ref().is_some_and(|name| name != link.name(id));
        check.need(&format!("{at}.set-name"), !renamed, "Stele renames no link: take it out");
        let mut addressing = link.addressing(&at, found, check);
        addressing.accept_ra &= !enslaved(id);
        found.add(link.name(id), kinds::Link { selector, up: true, addressing });
    }
    for (id, bond) in &bonds {
        let at = format!("{below}bonds.{id}");
        let link = |name: &String| names.get(&**name).map_or(name.clone(), |name| (*name).to_owned());
        let Parameters { mode, lacp_rate, transmit_hash_policy, primary, .. } = &bond.parameters;
        if bond.parameters.fail_over_mac_policy.is_some() {
            check.problem(
                &format!("{at}.parameters.fail-over-mac-policy"),
                "Stele's bonds have no such setting: take it out",
            );
        }
        let miimon = bond.parameters.mii_monitor_interval.as_ref().map_or(Some(100), |text| text.parse().ok());
        check.need(&format!("{at}.parameters.mii-monitor-interval"), miimon.is_some(), "expected milliseconds");
        let body = kinds::Bond {
            links: bond.interfaces.iter().map(link).collect(),
            mode: mode.unwrap_or(BondMode::BalanceRr),
            miimon: miimon.unwrap_or(100),
            lacp_rate: *lacp_rate,
            hash_policy: *transmit_hash_policy,
            primary: primary.as_ref().map(link),
            addressing: bond.addressing(&at, found, check),
        };
        found.add(id, body);
    }
    for (id, vlan) in &vlans {
        let at = format!("{below}vlans.{id}");
        let (Some(tag), Some(link)) = (vlan.id, &vlan.link) else {
            check.problem(&at, "expected id (the tag) and link");
            continue;
        };
        let link = names.get(&**link).copied().unwrap_or(link).to_owned();
        let addressing = vlan.addressing(&at, found, check);
        found.add(id, kinds::Vlan { link, id: tag, addressing });
    }
}

impl Ethernet {
    /// What our document is called: as the link, or with a match as it is to be called.
    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        match &self.selector {
            Some(of) if of.name.is_none() => self.set_name.as_deref().unwrap_or(id),
            of => of.as_ref().and_then(|of| of.name.as_deref()).unwrap_or(id),
        }
    }
}

impl Selector {
    /// None: by the link's own name.
    fn turn(&self, at: &str, check: &mut Check<'_>) -> Option<Match> {
        if let Some(name) = &self.name {
            let alone = self.macaddress.is_none() && self.driver.is_none();
            check.need(&format!("{at}.match.name"), alone, "expected name alone, or macaddress and driver");
            let plain = !name.contains(['*', '?', '[']);
            check.need(
                &format!("{at}.match.name"),
                plain,
                "patterns are not known: name each link, or match by macaddress",
            );
            return None;
        }
        let driver = self.driver.as_ref().map(|of| of.list().to_vec()).unwrap_or_default();
        check.need(&format!("{at}.match.driver"), driver.len() <= 1, "expected one driver");
        let driver = driver.into_iter().next();
        let plain = driver.as_ref().is_none_or(|name| !name.contains(['*', '?', '[']));
        check.need(&format!("{at}.match.driver"), plain, "patterns are not known: expected the name of a driver");
        if driver.is_none() && self.macaddress.is_none() {
            check.problem(&format!("{at}.match"), "every link would match: expected macaddress, driver or name");
        }
        Some(Match { mac: self.macaddress, driver, bus_path: None })
    }
}
