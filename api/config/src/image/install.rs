//! `installer install`: makes a disk a system disk. One [`Request`] as JSON on its standard input, one [`Line`] of JSON after the
//! other on its standard output; the last one is [`Line::Installed`] (exit code 0) or [`Line::Failed`] (exit code 1).
//!
//! What is on the disk goes, without a further question: whoever starts it has asked. It may be ended at any time, or the power
//! may go: until it says Installed the disk has no partition table, or a whole one; begun again it starts over.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Digest;
pub use super::esp::{Failed, Progress, Source};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The disk's block device; nobody else uses it.
    pub device: String,
    /// The kernel's number of the medium: another one that has taken its name is left alone.
    pub sequence: u64,
    /// Becomes generation 1, blessed.
    pub uki: Source,
    /// The recovery system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Source>,
    /// Starts them.
    pub loader: Source,
    /// What machined is to find in its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Value>,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// How far it is; the steps are `check`, `wipe`, `write`, `table`, `verify`.
    Progress(Progress),
    /// The end: it boots.
    Installed(Installed),
    /// The end: it does not.
    Failed(Failed),
}

/// What came of it; for the firmware, where it is told of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Installed {
    /// GUID of the disk.
    pub disk: String,
    /// GUID of the EFI partition, which is the first one.
    pub esp: String,
    /// Its first sector.
    pub start: u64,
    /// Its sectors.
    pub sectors: u64,
    /// Version of the UKI, which its os-release names.
    pub version: String,
    /// Digest of the UKI.
    pub uki: Option<Digest>,
}
