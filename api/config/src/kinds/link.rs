//! `kind: Link`: a network link that is there, found by its name or by what it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addressing::addressed;
use crate::word::{self, Mac};
use crate::{Check, Kind};

/// What a link must be; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Its permanent hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its driver: `virtio_net`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Where it is plugged in, as in the resource `link`: `0000:00:03.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus_path: Option<String>,
}

addressed! {
    /// A network link.
    pub struct Link {
        /// Which link it is; without it the one called `name`.
        #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
        pub selector: Option<Match>,
        /// Whether it is up.
        #[serde(default = "crate::kinds::addressing::yes")]
        pub up: bool,
    }
}

impl Kind for Link {
    const KIND: &'static str = "Link";
    const NAMED: bool = true;
    const NAME: &'static str = "The link's name, such as `eth0`; with `match`, any name of yours.";
    const DOC: &'static str = "A network link and how it gets its addresses. It may come and go; what the document says is \
                               done whenever it is there. A network card that no document names asks for addresses by \
                               itself.";
    const KEYED: &'static [(&'static str, &'static str)] = &[("routes", "to")];
    const EXAMPLES: &'static [&'static str] = &[
        "apiVersion: stele/v1
kind: Link
name: eth0
",
        "apiVersion: stele/v1
kind: Link
name: uplink
match:
  mac: 52:54:00:12:34:56
addresses:
- 192.0.2.5/24
- 2001:db8::5/64
routes:
- to: default
  via: 192.0.2.1
- to: 198.51.100.0/24
  via: 192.0.2.2
  metric: 50
mtu: 1500
acceptRa: false
",
        "apiVersion: stele/v1
kind: Link
name: storage
match:
  driver: virtio_net
  busPath: 0000:00:05.0
dhcp4: false
dhcp6: true
metric: 2048
",
    ];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        match &self.selector {
            None => found.need("name", name.is_none_or(word::is_link_name), LINK_NAME),
            Some(of) => {
                found.need("name", name.is_none_or(word::is_name), word::NAME);
                let some = of.mac.is_some() || of.driver.is_some() || of.bus_path.is_some();
                found.need("match", some, "expected at least one of mac, driver and busPath");
                let empty = |text: &Option<String>| text.as_ref().is_none_or(|t| !t.is_empty());
                found.need("match.driver", empty(&of.driver), "expected the name of a driver");
                found.need("match.busPath", empty(&of.bus_path), "expected a path such as 0000:00:03.0");
            }
        }
        self.addressing.check(found);
    }

    fn claims(&self, name: Option<&str>) -> Vec<String> {
        let mut claims = self.addressing.claims();
        match &self.selector {
            None => claims.extend(name.map(|name| format!("link {name}"))),
            Some(Match { mac: Some(mac), .. }) => claims.push(format!("the link with hardware address {mac}")),
            Some(Match { bus_path: Some(path), .. }) => claims.push(format!("the link at {path}")),
            Some(Match { driver, .. }) => {
                claims.extend(driver.as_ref().map(|driver| format!("the links of the driver {driver}")));
            }
        }
        claims
    }
}

pub(super) const LINK_NAME: &str =
    "expected the name of a link: 1 to 15 printable characters without space, /, : and %";
