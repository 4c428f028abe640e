//! Which link a `Link` document speaks of. Pure.

use std::collections::BTreeMap;

use config::kinds::{Link as Wanted, Match};

use crate::resources::link::{Link, LinkKind};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// This link.
    One(String),
    /// None; said why.
    None(String),
    /// More than one.
    Several(Vec<String>),
}

/// The link of a document: the one of its name, or the one card that its selector fits.
pub(super) fn select(name: &str, wanted: &Wanted, there: &BTreeMap<String, Link>) -> Selected {
    let Some(selector) = &wanted.selector else {
        return match there.contains_key(name) {
            true => Selected::One(name.to_owned()),
            false => Selected::None(format!("there is no link {name}")),
        };
    };
    let mut found: Vec<String> =
        there.iter().filter(|(_, link)| fits(selector, link)).map(|(name, _)| name.clone()).collect();
    match found.len() {
        0 => Selected::None(format!("no link has {}", describe(selector))),
        1 => Selected::One(found.remove(0)),
        _ => Selected::Several(found),
    }
}

/// Cards alone: what software makes of them shows their addresses, too.
fn fits(selector: &Match, link: &Link) -> bool {
    // A port of a bond has the bond's address; its own is the permanent one.
    let mac = if link.permanent_mac.is_empty() { &link.mac } else { &link.permanent_mac };
    // The kernel's name of the place is enough, without the bus: `0000:00:03.0`.
    let place =
        |path: &String| link.bus_path == *path || link.bus_path.split_once('-').is_some_and(|(_, place)| place == path);
    link.kind == LinkKind::Physical
        && selector.mac.is_none_or(|wanted| *mac == wanted.to_string())
        && selector.driver.as_ref().is_none_or(|driver| link.driver == *driver)
        && selector.bus_path.as_ref().is_none_or(place)
}

fn describe(selector: &Match) -> String {
    let mac = selector.mac.map(|mac| format!("the hardware address {mac}"));
    let driver = selector.driver.as_ref().map(|driver| format!("the driver {driver}"));
    let place = selector.bus_path.as_ref().map(|path| format!("the bus path {path}"));
    [mac, driver, place].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}
