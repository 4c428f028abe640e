//! Settings of the kernel: wanted (`sysctl-spec`) and as they are (`sysctl`). The id is the name as sysctl(8) prints it,
//! `net.ipv4.ip_forward`; written by `system/sysctl`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// A setting that shall have a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SysctlSpec {
    /// The value.
    pub value: String,
    /// Where it stands.
    pub origin: Origin,
}

impl Resource for SysctlSpec {
    const TYPE: &'static str = "sysctl-spec";
    const PLURAL: &'static str = "sysctl-specs";
    const DOC: &'static str = "A value that a setting of the kernel shall have.";
    const COLUMNS: &'static [Column] = &[
        Column::new("VALUE", "/value"),
        Column::new("DOCUMENT", "/origin/document"),
        Column::wide("LINE", "/origin/line"),
    ];
}

/// A setting of the kernel that the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sysctl {
    /// As the kernel shows it; empty when it does not.
    pub value: String,
    /// As the configuration wants it; empty for one that it no longer names, but that could not be put back yet.
    pub wanted: String,
    /// What it was before: comes back when the document goes.
    pub before: String,
    /// Why it is not as wanted; empty when it is.
    pub problem: String,
    /// How often somebody else has changed it since machined started; it was set back each time.
    pub drifts: u64,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Resource for Sysctl {
    const TYPE: &'static str = "sysctl";
    const PLURAL: &'static str = "sysctls";
    const DOC: &'static str = "A setting of the kernel that the configuration names, as it is.";
    const COLUMNS: &'static [Column] = &[
        Column::new("VALUE", "/value"),
        Column::new("WANTED", "/wanted"),
        Column::new("DRIFTS", "/drifts"),
        Column::new("PROBLEM", "/problem"),
        Column::wide("BEFORE", "/before"),
        Column::wide("DOCUMENT", "/origin/document"),
        Column::wide("LINE", "/origin/line"),
    ];
}
