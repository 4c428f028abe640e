//! `kind: Hostname`: what the machine calls itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::word;
use crate::{Check, Kind};

/// What the machine calls itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hostname {
    /// A host name, or a fully qualified domain name of which the first label becomes the host name.
    pub hostname: String,
}

impl Hostname {
    /// The kernel's host name: the first label.
    pub fn short(&self) -> &str {
        self.hostname.split('.').next().unwrap_or_default()
    }
}

impl Kind for Hostname {
    const KIND: &'static str = "Hostname";
    const NAMED: bool = false;
    const DOC: &'static str = "What the machine calls itself. Without one it is called `stele-` and a part of its machine \
                               id. Names from DHCP are not used.";
    const EXAMPLES: &'static [&'static str] = &["apiVersion: stele/v1
kind: Hostname
hostname: web-1.example.com
"];

    fn check(&self, _: Option<&str>, found: &mut Check<'_>) {
        let message =
            "expected a host name such as web-1 or web-1.example.com: letters, digits and -, at most 63 in a label";
        found.need("hostname", word::is_host_name(&self.hostname), message);
        found.need("hostname", self.hostname != "localhost", "expected a name other than localhost");
    }
}
