//! Links that machined makes: bonds and VLANs. Part of `link-config`, `link-spec` and of what the kernel shows; the words
//! are the documents'.

pub use config::kinds::{BondMode, HashPolicy, LacpRate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

impl Bond {
    /// Whether one port of it can be preferred.
    pub fn has_primary(&self) -> bool {
        matches!(self.mode, BondMode::ActiveBackup | BondMode::BalanceTlb | BondMode::BalanceAlb)
    }
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
