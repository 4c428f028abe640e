//! How a link gets its addresses: the fields that `Link`, `Bond` and `Vlan` share.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Check;
use crate::word::{Destination, Net};

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The network it leads to, or `default`.
    pub to: Destination,
    /// The gateway; without one the network is on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Of several routes to one network the lowest is taken; without one that of the link, or one before those of DHCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// Declares a struct with fields of its own, and those of addressing after them. Not serde's `flatten`: that forgets where
/// in the source a value stood.
macro_rules! with_addressing {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        $vis struct $name {
            $($own)*
            /// Ask for an IPv4 address by DHCP. By default, when `addresses` holds no IPv4 address.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub dhcp4: Option<bool>,
            /// Ask for an IPv6 address by DHCPv6.
            #[serde(default)]
            pub dhcp6: bool,
            /// Take addresses and routes from the router's advertisements (SLAAC).
            #[serde(default = "crate::kinds::addressing::yes")]
            pub accept_ra: bool,
            /// Addresses that stay, each with the length of its network's prefix.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub addresses: Vec<crate::word::Net>,
            /// Routes over this link.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub routes: Vec<crate::kinds::addressing::Route>,
            /// The largest packet in bytes; without it what the driver, or DHCP, says.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 68, max = 65_536))]
            pub mtu: Option<u32>,
            /// What routes of this link without a metric of their own get; the lowest is taken. Without it, those of
            /// documents are taken before those of DHCP and routers.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub metric: Option<u32>,
        }
    };
}

/// Declares a kind that has `addressing`, which documents write beside the kind's own fields.
macro_rules! addressed {
    ($(#[doc = $doc:literal])* pub struct $name:ident {
        $($(#[doc = $field_doc:literal])* $(#[serde($($serde:tt)*)])? pub $field:ident: $type:ty,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(from = "Flat", into = "Flat")]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $type,)*
            /// How it gets its addresses.
            pub addressing: $crate::kinds::Addressing,
        }

        $crate::kinds::addressing::with_addressing! {
            $(#[doc = $doc])*
            #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            #[serde(rename_all = "camelCase")]
            struct Flat {
                $($(#[doc = $field_doc])* $(#[serde($($serde)*)])? $field: $type,)*
            }
        }

        impl From<Flat> for $name {
            fn from(flat: Flat) -> Self {
                let Flat { $($field,)* dhcp4, dhcp6, accept_ra, addresses, routes, mtu, metric } = flat;
                let addressing =
                    $crate::kinds::Addressing { dhcp4, dhcp6, accept_ra, addresses, routes, mtu, metric };
                Self { $($field,)* addressing }
            }
        }

        impl From<$name> for Flat {
            fn from(body: $name) -> Self {
                let $name { $($field,)* addressing } = body;
                let $crate::kinds::Addressing { dhcp4, dhcp6, accept_ra, addresses, routes, mtu, metric } = addressing;
                Self { $($field,)* dhcp4, dhcp6, accept_ra, addresses, routes, mtu, metric }
            }
        }
    };
}

pub(crate) use {addressed, with_addressing};

with_addressing! {
    /// How a link gets its addresses.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase")]
    pub struct Addressing {}
}

impl Default for Addressing {
    fn default() -> Self {
        let (addresses, routes) = (Vec::new(), Vec::new());
        Self { dhcp4: None, dhcp6: false, accept_ra: true, addresses, routes, mtu: None, metric: None }
    }
}

pub(crate) fn yes() -> bool {
    true
}

impl Addressing {
    /// Whether DHCP is asked for an IPv4 address.
    pub fn dhcp4(&self) -> bool {
        self.dhcp4.unwrap_or_else(|| !self.addresses.iter().any(|a| a.addr().is_ipv4()))
    }

    pub(super) fn check(&self, found: &mut Check<'_>) {
        for (i, address) in self.addresses.iter().enumerate() {
            let path = format!("addresses[{i}]");
            found.need(&path, !self.addresses[..i].contains(address), "this address is there before: keep one");
            let ip = address.addr();
            let host = !ip.is_unspecified() && !ip.is_multicast();
            found.need(&path, host, "expected the address of a host, neither 0.0.0.0 nor multicast");
            found.need(&path, !is_network(address), "this is the address of the network: expected one of a host in it");
        }
        for (i, route) in self.routes.iter().enumerate() {
            route.check(&format!("routes[{i}]"), found);
            let same = |r: &Route| (r.to, r.metric) == (route.to, route.metric) && family(r) == family(route);
            let twice = self.routes[..i].iter().any(same);
            let message =
                "a route to this network with this metric is there before: keep one, or give it another metric";
            found.need(&format!("routes[{i}]"), !twice, message);
        }
        if let Some(mtu) = self.mtu {
            found.need("mtu", (68..=65_536).contains(&mtu), "expected 68 to 65536 bytes");
            let v6 = self.dhcp6 || self.addresses.iter().any(|a| a.addr().is_ipv6());
            found.need("mtu", mtu >= 1280 || !v6, "IPv6 needs at least 1280 bytes");
        }
    }

    pub(super) fn claims(&self) -> Vec<String> {
        // A link-local address may be there on each link.
        let local = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_loopback(),
        };
        let addresses = self.addresses.iter().map(|a| a.addr()).filter(|ip| !local(*ip));
        let mut claims: Vec<_> = addresses.map(|ip| format!("address {ip}")).collect();
        claims.dedup();
        claims
    }
}

impl Route {
    fn check(&self, path: &str, found: &mut Check<'_>) {
        match self.to {
            Destination::Default => found.need(path, self.via.is_some(), "a default route needs via, the gateway"),
            Destination::Net(net) => {
                let message = format!("bits are set behind the prefix: expected {}", net.trunc());
                found.need(&format!("{path}.to"), net == net.trunc(), &message);
                let same = self.via.is_none_or(|via| via.is_ipv4() == net.addr().is_ipv4());
                found.need(&format!("{path}.via"), same, "expected an address of the same family as the network's");
            }
        }
        let via = self.via.is_none_or(|via| !via.is_unspecified() && !via.is_multicast());
        found.need(&format!("{path}.via"), via, "expected the address of a router");
    }
}

/// IPv6 or not; a default route has the family of its gateway.
fn family(route: &Route) -> Option<bool> {
    match route.to {
        Destination::Default => route.via.map(|via| via.is_ipv6()),
        Destination::Net(net) => Some(net.addr().is_ipv6()),
    }
}

/// A network of one or two addresses has no address of its own (RFC 3021, RFC 6164).
fn is_network(net: &Net) -> bool {
    match net.0 {
        IpNet::V4(net) => net.prefix_len() < 31 && net.addr() == net.network(),
        // The subnet-router anycast address of RFC 4291 2.6.1 is given to routers on purpose.
        IpNet::V6(_) => false,
    }
}
