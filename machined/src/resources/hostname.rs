//! The machine's name: wanted (`hostname-spec`) and in effect (`hostname`). One object each, id "hostname"; written by
//! `system/hostname`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// The name the machine shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostnameSpec {
    /// Host name or fully qualified domain name.
    pub hostname: String,
    /// The document that says so; absent: made of the machine id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl HostnameSpec {
    /// The one id.
    pub const ID: &'static str = "hostname";
}

impl Resource for HostnameSpec {
    const TYPE: &'static str = "hostname-spec";
    const PLURAL: &'static str = "hostname-specs";
    const DOC: &'static str = "The name the machine shall have.";
    const COLUMNS: &'static [Column] =
        &[Column::new("HOSTNAME", "/hostname"), Column::new("DOCUMENT", "/origin/document")];
}

/// The name the machine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hostname {
    /// The kernel's host name: the first label.
    pub hostname: String,
    /// With its domain, when it has one.
    pub full_name: String,
    /// The document that says so; absent: made of the machine id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Hostname {
    /// The one id.
    pub const ID: &'static str = "hostname";
}

impl Resource for Hostname {
    const TYPE: &'static str = "hostname";
    const PLURAL: &'static str = "hostnames";
    const DOC: &'static str = "The name the machine has.";
    const COLUMNS: &'static [Column] = &[
        Column::new("HOSTNAME", "/hostname"),
        Column::new("FULL-NAME", "/fullName"),
        Column::new("DOCUMENT", "/origin/document"),
    ];
}
