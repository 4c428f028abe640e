//! cloud-init's network-config, version 1 and 2, to documents. Pure; any text is fine.
//!
//! Invariant: what is not understood is a problem with path and line, never left out silently. Taken without effect are only
//! keys that change nothing here: `renderer` (there is one), `optional` (nothing waits for a link), `critical` (a lease
//! survives anyway), `wakeonlan`, `dhcp-identifier`, and `set-name` where it says how a link that is matched is called.

mod v1;
mod v2;
mod word;

use std::collections::BTreeMap;
use std::net::IpAddr;

use config::kinds::{Addressing, Resolver};
use config::{Check, Document, Problems};
use serde::Deserialize;
use serde_json::Value;

/// A whole file of either version; some tools put it below a key `network`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct File {
    network: Option<Box<File>>,
    version: Option<u64>,
    #[serde(rename = "renderer")]
    _renderer: Option<String>,
    config: Option<Vec<v1::Item>>,
    ethernets: BTreeMap<String, v2::Ethernet>,
    bonds: BTreeMap<String, v2::Bond>,
    vlans: BTreeMap<String, v2::Vlan>,
    bridges: Option<Value>,
    wifis: Option<Value>,
    tunnels: Option<Value>,
    modems: Option<Value>,
    vrfs: Option<Value>,
    dummy_devices: Option<Value>,
    openvswitch: Option<Value>,
}

/// The documents that say the same as a text in one of the formats.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, Problems> {
    let turned = config::yaml::convert(text, |file: File, check| file.turn("", check));
    turned.map(Option::unwrap_or_default).map_err(said)
}

/// In the words of somebody who writes for cloud-init.
fn said(mut problems: Problems) -> Problems {
    for problem in &mut problems.0 {
        if problem.message.starts_with("there is no such field") {
            problem.message = "Stele does not know this key here: take it out".into();
        }
    }
    problems
}

impl File {
    fn turn(self, below: &str, check: &mut Check<'_>) -> Vec<Document> {
        if let Some(inner) = self.network {
            let alone =
                below.is_empty() && self.version.is_none() && self.config.is_none() && self.ethernets.is_empty();
            check.need("network", alone, "expected this key alone, with everything below it");
            return inner.turn("network.", check);
        }
        let missing = [
            ("bridges", &self.bridges),
            ("wifis", &self.wifis),
            ("tunnels", &self.tunnels),
            ("modems", &self.modems),
            ("vrfs", &self.vrfs),
            ("dummy-devices", &self.dummy_devices),
            ("openvswitch", &self.openvswitch),
        ];
        for (key, _) in missing.iter().filter(|(_, value)| value.is_some()) {
            check.problem(&format!("{below}{key}"), "Stele has no document for these: links, bonds and VLANs it has");
        }
        let mut found = Found::default();
        match self.version {
            Some(1) => {
                let mixed = self.ethernets.is_empty() && self.bonds.is_empty() && self.vlans.is_empty();
                check.need(&format!("{below}version"), mixed, "ethernets, bonds and vlans belong to version 2");
                v1::turn(self.config.unwrap_or_default(), &format!("{below}config"), &mut found, check);
            }
            Some(2) => {
                check.need(&format!("{below}config"), self.config.is_none(), "config belongs to version 1");
                v2::turn((self.ethernets, self.bonds, self.vlans), below, &mut found, check);
            }
            Some(_) => check.problem(&format!("{below}version"), "expected 1 or 2"),
            None => check.problem(below.trim_end_matches('.'), "the field version is missing: expected 1 or 2"),
        }
        found.documents()
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    documents: Vec<Document>,
    /// Name servers and search domains of all links: there is one resolver.
    resolver: Resolver,
}

impl Found {
    fn add(&mut self, name: &str, body: impl Into<config::Body>) {
        self.documents.push(Document::of(Some(name), body));
    }

    fn ask(&mut self, servers: &[IpAddr], search: &[String]) {
        let Resolver { servers: known, search: domains } = &mut self.resolver;
        for server in servers.iter().filter(|server| !known.contains(server)).copied().collect::<Vec<_>>() {
            known.push(server);
        }
        for domain in search {
            // A route-only domain of others, or one that ends in a dot: the name is what counts.
            let domain = domain.trim_end_matches('.').to_owned();
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
    }

    fn documents(mut self) -> Vec<Document> {
        if self.resolver != Resolver::default() {
            self.documents.push(Document::of(None, self.resolver));
        }
        self.documents
    }
}

/// Both versions ask for nothing unless told.
fn quiet() -> Addressing {
    Addressing { dhcp4: Some(false), ..Addressing::default() }
}

#[cfg(test)]
mod tests;
