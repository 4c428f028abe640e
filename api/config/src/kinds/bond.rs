//! `kind: Bond`: several links used as one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addressing::addressed;
use super::link::LINK_NAME;
use crate::word;
use crate::{Check, Kind};

/// How a bond uses its links; the kernel's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BondMode {
    /// Each packet over the next link.
    BalanceRr,
    /// One link at a time, another when it fails. Needs nothing of the switch.
    #[default]
    ActiveBackup,
    /// A link by hash of the packet's ends.
    BalanceXor,
    /// Each packet over every link.
    Broadcast,
    /// LACP; the switch must do it, too.
    #[serde(rename = "802.3ad")]
    Lacp,
    /// Sending by load.
    BalanceTlb,
    /// Sending and receiving by load.
    BalanceAlb,
}

/// How often LACP partners tell each other that they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LacpRate {
    /// Every 30 seconds.
    Slow,
    /// Every second.
    Fast,
}

/// What picks the link for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HashPolicy {
    /// Hardware addresses.
    #[serde(rename = "layer2")]
    Layer2,
    /// Hardware and IP addresses.
    #[serde(rename = "layer2+3")]
    Layer23,
    /// IP addresses and ports.
    #[serde(rename = "layer3+4")]
    Layer34,
    /// As `layer2+3`, of what is inside a tunnel.
    #[serde(rename = "encap2+3")]
    Encap23,
    /// As `layer3+4`, of what is inside a tunnel.
    #[serde(rename = "encap3+4")]
    Encap34,
    /// VLAN and source hardware address.
    #[serde(rename = "vlan+srcmac")]
    VlanSrcmac,
}

addressed! {
    /// Several links used as one.
    pub struct Bond {
        /// Its links: names of links, or of `Link` documents with `match`.
        pub links: Vec<String>,
        /// How it uses them.
        #[serde(default)]
        pub mode: BondMode,
        /// How often the links are looked at, in milliseconds.
        #[serde(default = "miimon")]
        pub miimon: u32,
        /// Only with the mode `802.3ad`; without it `slow`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub lacp_rate: Option<LacpRate>,
        /// Only with modes that pick by hash; without it `layer2`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub hash_policy: Option<HashPolicy>,
        /// The link that is used whenever it is up; with `active-backup`, `balance-tlb` and `balance-alb`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub primary: Option<String>,
    }
}

/// The kernel documents 100 ms as a good start.
fn miimon() -> u32 {
    100
}

impl Kind for Bond {
    const KIND: &'static str = "Bond";
    const NAMED: bool = true;
    const NAME: &'static str = "The link that is made, such as `bond0`.";
    const DOC: &'static str = "A link made of several links: it goes on when one of them fails.";
    const KEYED: &'static [(&'static str, &'static str)] = &[("routes", "to")];
    const EXAMPLES: &'static [&'static str] = &[
        "apiVersion: stele/v1
kind: Bond
name: bond0
links:
- eth0
- eth1
mode: active-backup
primary: eth0
",
        "apiVersion: stele/v1
kind: Bond
name: bond1
links:
- eth2
- eth3
mode: 802.3ad
lacpRate: fast
hashPolicy: layer3+4
miimon: 50
addresses:
- 192.0.2.10/24
",
    ];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        found.need("name", name.is_none_or(word::is_link_name), LINK_NAME);
        found.need("links", !self.links.is_empty(), "expected at least one link");
        for (i, link) in self.links.iter().enumerate() {
            let path = format!("links[{i}]");
            found.need(&path, word::is_name(link) || word::is_link_name(link), LINK_NAME);
            found.need(&path, !self.links[..i].contains(link), "this link is there before: keep one");
            found.need(&path, name != Some(link), "a bond cannot be a link of itself");
        }
        found.need("miimon", (1..=60_000).contains(&self.miimon), "expected 1 to 60000 milliseconds");
        use BondMode::{ActiveBackup, BalanceAlb, BalanceTlb, BalanceXor, Lacp};
        let of = |modes: &[BondMode]| modes.contains(&self.mode);
        found.need("lacpRate", self.lacp_rate.is_none() || of(&[Lacp]), "goes only with mode: 802.3ad");
        let hash = self.hash_policy.is_none() || of(&[BalanceXor, Lacp, BalanceTlb]);
        found.need("hashPolicy", hash, "goes only with mode: 802.3ad, balance-xor or balance-tlb");
        if let Some(primary) = &self.primary {
            let mode = of(&[ActiveBackup, BalanceTlb, BalanceAlb]);
            found.need("primary", mode, "goes only with mode: active-backup, balance-tlb or balance-alb");
            found.need("primary", self.links.contains(primary), "expected one of links");
        }
        self.addressing.check(found);
    }

    fn claims(&self, name: Option<&str>) -> Vec<String> {
        let mut claims = self.addressing.claims();
        claims.extend(name.map(|name| format!("link {name}")));
        claims.extend(self.links.iter().map(|link| format!("{link} as a part of a bond")));
        claims
    }
}
