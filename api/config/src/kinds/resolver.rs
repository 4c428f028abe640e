//! `kind: Resolver`: who answers for names.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::word;
use crate::{Check, Kind};

/// Who answers for names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolver {
    /// Addresses of name servers, asked in this order, the first three. Empty: those that DHCP and routers name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Domains that short names are looked up in, the first six. Empty: those that DHCP and routers name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
}

impl Kind for Resolver {
    const KIND: &'static str = "Resolver";
    const NAMED: bool = false;
    const DOC: &'static str =
        "Name servers and search domains. What is given here replaces what DHCP and routers name.";
    const EXAMPLES: &'static [&'static str] = &["apiVersion: stele/v1
kind: Resolver
servers:
- 192.0.2.53
- 2001:db8::53
search:
- example.com
"];

    fn check(&self, _: Option<&str>, found: &mut Check<'_>) {
        for (i, server) in self.servers.iter().enumerate() {
            let path = format!("servers[{i}]");
            found.need(&path, !self.servers[..i].contains(server), "this server is there before: keep one");
            let host = !server.is_unspecified() && !server.is_multicast();
            found.need(&path, host, "expected the address of a name server");
            let local = matches!(server, IpAddr::V6(server) if server.is_unicast_link_local());
            let message = "a link-local address says nothing without a link: expected another address of the server";
            found.need(&path, !local, message);
        }
        for (i, domain) in self.search.iter().enumerate() {
            let path = format!("search[{i}]");
            found.need(&path, word::is_host_name(domain), "expected a domain such as example.com");
            found.need(&path, !self.search[..i].contains(domain), "this domain is there before: keep one");
        }
    }
}
