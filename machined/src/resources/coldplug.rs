//! How far the loading of drivers has come. Written by `controllers::device`; the disk controllers wait for its storage
//! stage before they judge which disks there are.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which drivers are there; each stage includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The first look at /sys goes on.
    #[default]
    Started,
    /// Network cards.
    Network,
    /// Disks.
    Storage,
    /// Optical drives.
    Optical,
    /// Disks on slow buses (USB, SD cards).
    Removable,
    /// Everything.
    All,
}

/// One object, id "coldplug".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coldplug {
    /// The drivers of all devices seen so far up to this stage are loaded, or failed to.
    pub stage: Stage,
    /// Modules that this machined loaded.
    pub loaded: u64,
    /// Modules that could not be loaded, with the kernel's reason.
    pub failed: Vec<String>,
    /// Modules of `kernel-module-spec` that were seen to: loaded, built in, or failed.
    #[serde(default)]
    pub seen_to: Vec<String>,
    /// Milliseconds spent loading.
    pub load_ms: u64,
}

impl Coldplug {
    /// The one id of this type.
    pub const ID: &'static str = "coldplug";
}

impl Resource for Coldplug {
    const TYPE: &'static str = "coldplug";
    const PLURAL: &'static str = "coldplugs";
    const DOC: &'static str = "How far the loading of device drivers has come.";
    const COLUMNS: &'static [Column] = &[
        Column::new("STAGE", "/stage"),
        Column::new("LOADED", "/loaded"),
        Column::new("FAILED", "/failed"),
        Column::new("LOAD-MS", "/loadMs"),
    ];
}
