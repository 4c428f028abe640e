//! Links that machined makes: bonds and VLANs. Part of `link-config`, `link-spec` and of what the kernel shows; the words
//! are the kernel's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How packets are spread over the links of a bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BondMode {
    /// One after the other.
    #[serde(rename = "balance-rr")]
    BalanceRr,
    /// One link works, the others wait for it to fail.
    #[serde(rename = "active-backup")]
    ActiveBackup,
    /// By a hash of addresses.
    #[serde(rename = "balance-xor")]
    BalanceXor,
    /// Everything on all links.
    #[serde(rename = "broadcast")]
    Broadcast,
    /// LACP (IEEE 802.1AX).
    #[serde(rename = "802.3ad")]
    Lacp,
    /// By load, outgoing packets only.
    #[serde(rename = "balance-tlb")]
    BalanceTlb,
    /// By load, both ways.
    #[serde(rename = "balance-alb")]
    BalanceAlb,
}

impl BondMode {
    /// Whether one link of the bond can be preferred.
    pub fn has_primary(self) -> bool {
        matches!(self, Self::ActiveBackup | Self::BalanceTlb | Self::BalanceAlb)
    }
}

/// How often the other side of an LACP bond is asked to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LacpRate {
    /// Every 30 seconds.
    Slow,
    /// Every second.
    Fast,
}

/// What decides by which link of a bond a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HashPolicy {
    /// Hardware addresses.
    #[serde(rename = "layer2")]
    Layer2,
    /// IP addresses and ports.
    #[serde(rename = "layer3+4")]
    Layer34,
    /// Hardware and IP addresses.
    #[serde(rename = "layer2+3")]
    Layer23,
    /// As layer2+3, inside tunnels.
    #[serde(rename = "encap2+3")]
    Encap23,
    /// As layer3+4, inside tunnels.
    #[serde(rename = "encap3+4")]
    Encap34,
    /// VLAN and source hardware address.
    #[serde(rename = "vlan+srcmac")]
    VlanSrcMac,
}

/// A bond, without its ports: those say themselves to which bond they belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bond {
    /// Cannot be changed while there are ports.
    pub mode: BondMode,
    /// Milliseconds between two looks at the carriers.
    pub miimon: u32,
    /// Counts for LACP only.
    pub lacp_rate: LacpRate,
    /// Counts for the modes that hash.
    pub hash_policy: HashPolicy,
    /// The port that is preferred, in modes that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
}

/// A VLAN; neither part can be changed without making it anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vlan {
    /// The link it is on.
    pub link: String,
    /// Its number, 1 to 4094.
    pub id: u16,
}

/// A link made by software.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Virtual {
    /// Several links as one.
    Bond(Bond),
    /// A part of a link, by tagged packets.
    Vlan(Vlan),
}

impl Virtual {
    /// The kernel's word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bond(_) => "bond",
            Self::Vlan(_) => "vlan",
        }
    }

    /// The module the kernel needs for it.
    pub fn module(&self) -> &'static str {
        match self {
            Self::Bond(_) => "bonding",
            Self::Vlan(_) => "8021q",
        }
    }
}
