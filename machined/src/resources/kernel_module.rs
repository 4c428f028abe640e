//! Kernel modules: those that controllers want beside the drivers of devices (`kernel-module-spec`, shared by who needs one),
//! and those that are loaded (`kernel-module`). `controllers::device` reads the first and writes the second.

use std::collections::BTreeMap;

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// A kernel module that shall be loaded; the id begins with who wants it: `network/bonding`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KernelModuleSpec {
    /// Its name.
    pub name: String,
    /// What it is given when it is loaded; one that is loaded already keeps what it has.
    pub parameters: BTreeMap<String, String>,
    /// Whether the network needs it; others are loaded after the API's first answer.
    pub early: bool,
    /// What for.
    pub reason: String,
    /// The document that wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Resource for KernelModuleSpec {
    const TYPE: &'static str = "kernel-module-spec";
    const PLURAL: &'static str = "kernel-module-specs";
    const DOC: &'static str = "A kernel module that shall be loaded, beside the drivers of devices.";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME", "/name"),
        Column::new("PARAMETERS", "/parameters"),
        Column::new("REASON", "/reason"),
        Column::wide("DOCUMENT", "/origin/document"),
    ];
}

/// One loaded module; its id is its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KernelModule {
    /// Bytes of memory it takes.
    pub size: u64,
    /// How often it is in use.
    pub references: u64,
    /// Modules that need it.
    pub used_by: Vec<String>,
    /// `live`, `loading` or `unloading`.
    pub state: String,
    /// The kernel's letters: O out of tree, E unsigned, P proprietary, F forced; empty for none.
    pub taint: String,
    /// Why machined loaded it: the device's modalias, or the module that needs it; empty when init or the kernel did.
    pub reason: String,
    /// The document that wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// How long the kernel took to load it; absent when this machined did not load it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_ms: Option<u64>,
}

impl Resource for KernelModule {
    const TYPE: &'static str = "kernel-module";
    const PLURAL: &'static str = "kernel-modules";
    const ALIASES: &'static [&'static str] = &["module", "modules"];
    const DOC: &'static str = "A kernel module that is loaded, why, and how long that took.";
    const COLUMNS: &'static [Column] = &[
        Column::new("SIZE", "/size"),
        Column::new("STATE", "/state"),
        Column::new("USED-BY", "/usedBy"),
        Column::new("LOAD-MS", "/loadMs"),
        Column::wide("REFERENCES", "/references"),
        Column::wide("TAINT", "/taint"),
        Column::wide("REASON", "/reason"),
        Column::wide("DOCUMENT", "/origin/document"),
    ];
}
