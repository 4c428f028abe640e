//! `kind: StaticHost`: a line of `/etc/hosts`.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::word;
use crate::{Check, Kind};

/// A host whose addresses are known without asking a name server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaticHost {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Further names of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

impl Kind for StaticHost {
    const KIND: &'static str = "StaticHost";
    const NAMED: bool = true;
    const NAME: &'static str = "The host's name.";
    const DOC: &'static str = "A host whose addresses are known without asking a name server: lines of `/etc/hosts`.";
    const EXAMPLES: &'static [&'static str] = &["apiVersion: stele/v1
kind: StaticHost
name: registry.example.com
addresses:
- 192.0.2.80
- 2001:db8::80
aliases:
- registry
"];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        let message = "expected a host name such as registry or registry.example.com";
        found.need("name", name.is_none_or(word::is_host_name), message);
        found.need("name", name != Some("localhost"), "localhost is always there");
        found.need("addresses", !self.addresses.is_empty(), "expected at least one address");
        for (i, address) in self.addresses.iter().enumerate() {
            let twice = self.addresses[..i].contains(address);
            found.need(&format!("addresses[{i}]"), !twice, "this address is there before: keep one");
        }
        for (i, alias) in self.aliases.iter().enumerate() {
            let path = format!("aliases[{i}]");
            found.need(&path, word::is_host_name(alias), message);
            found.need(&path, alias != "localhost", "localhost is always there");
            let twice = self.aliases[..i].contains(alias) || name == Some(alias);
            found.need(&path, !twice, "this name is there before: keep one");
        }
    }

    fn claims(&self, name: Option<&str>) -> Vec<String> {
        name.into_iter()
            .chain(self.aliases.iter().map(String::as_str))
            .map(|name| format!("the addresses of {}", name.to_ascii_lowercase()))
            .collect()
    }
}
