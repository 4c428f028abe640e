//! Words that both versions write in several ways. Pure.

use std::net::IpAddr;

use config::kinds::Route;
use config::{Destination, Net};
use ipnet::IpNet;
use serde::Deserialize;

/// One, or a list.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of them")]
pub(super) enum Many<T> {
    One(T),
    List(Vec<T>),
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl<T> Many<T> {
    pub(super) fn list(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::List(list) => list,
        }
    }
}

/// An address with the length of its network: in itself, or by a mask beside it.
pub(super) fn net(address: &str, mask: Option<&str>) -> Option<Net> {
    if let Ok(net) = address.parse::<IpNet>() {
        return mask.is_none_or(|mask| length(mask) == Some(net.prefix_len())).then_some(Net(net));
    }
    let address: IpAddr = address.parse().ok()?;
    IpNet::new(address, length(mask?)?).ok().map(Net)
}

/// `24` or `255.255.255.0`.
fn length(mask: &str) -> Option<u8> {
    mask.parse().ok().or_else(|| ipnet::ip_mask_to_prefix(mask.parse().ok()?).ok())
}

/// `default`, a network with its length, or with a mask beside it: version 1, whose readers do not agree on what an address
/// alone is.
pub(super) fn network(to: &str, mask: Option<&str>) -> Option<Destination> {
    let whole = mask.is_some() || to.contains('/') || to == "default";
    destination(to, mask).filter(|_| whole)
}

/// `default`, a network, or one address; with a mask beside it in version 1.
pub(super) fn destination(to: &str, mask: Option<&str>) -> Option<Destination> {
    if matches!(to, "default" | "0.0.0.0/0" | "::/0") {
        return Some(Destination::Default);
    }
    let net = net(to, mask).map(|net| net.0).or_else(|| to.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(if net.prefix_len() == 0 { Destination::Default } else { Destination::Net(net.trunc()) })
}

/// A gateway of a link.
pub(super) fn default_route(via: IpAddr) -> Route {
    Route { to: Destination::Default, via: Some(via), metric: None }
}
