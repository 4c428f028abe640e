//! `kind: Time`: who is asked what time it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::word;
use crate::{Check, Kind};

/// Who is asked what time it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Time {
    /// SNTP servers: names or addresses. Empty: nobody is asked.
    pub servers: Vec<String>,
}

impl Kind for Time {
    const KIND: &'static str = "Time";
    const NAMED: bool = false;
    const DOC: &'static str = "Servers that are asked for the time (SNTP). Without one those that DHCP names are asked. The \
                               clock is set once, and from then on only made to run faster or slower.";
    const EXAMPLES: &'static [&'static str] = &["apiVersion: stele/v1
kind: Time
servers:
- time.example.com
- 192.0.2.123
"];

    fn check(&self, _: Option<&str>, found: &mut Check<'_>) {
        for (i, server) in self.servers.iter().enumerate() {
            let path = format!("servers[{i}]");
            found.need(&path, word::is_host(server), "expected a name or an address, without a port");
            found.need(&path, !self.servers[..i].contains(server), "this server is there before: keep one");
        }
        found.need("servers", self.servers.len() <= 16, "expected at most 16 servers");
    }
}
