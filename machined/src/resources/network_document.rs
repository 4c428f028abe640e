//! What came of a document of the network (`Link`, `Bond`, `Vlan`, `Resolver`). Written by `network/config`; the id is the
//! document's.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// How far a document has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentState {
    /// In effect.
    Applied,
    /// A link that it names or selects is not there.
    Waiting,
    /// Its selector fits several links, so it is used for none.
    Ambiguous,
    /// Another document has the same link, and that one counts.
    Conflict,
    /// The kernel refused a part of it.
    Refused,
}

/// One document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkDocument {
    /// How far it has come.
    pub state: DocumentState,
    /// Why no further; empty when it is applied.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The links it speaks of that are there.
    pub links: Vec<String>,
    /// Where it stands.
    pub origin: Origin,
}

impl Resource for NetworkDocument {
    const TYPE: &'static str = "network-document";
    const PLURAL: &'static str = "network-documents";
    const DOC: &'static str = "What came of a document of the network, and why no more.";
    const COLUMNS: &'static [Column] = &[
        Column::new("STATE", "/state"),
        Column::new("LINKS", "/links"),
        Column::new("REASON", "/reason"),
        Column::wide("REVISION", "/origin/revision"),
        Column::wide("LINE", "/origin/line"),
    ];
}

/// What the kernel refused of the network, written by `network/apply`; one object, id "network".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkRefusal {
    /// By link: what was asked, and why the kernel did not do it.
    pub links: std::collections::BTreeMap<String, String>,
}

impl NetworkRefusal {
    /// The one id.
    pub const ID: &'static str = "network";
}

impl Resource for NetworkRefusal {
    const TYPE: &'static str = "network-refusal";
    const PLURAL: &'static str = "network-refusals";
    const DOC: &'static str = "What the kernel refused of the network.";
    const COLUMNS: &'static [Column] = &[Column::new("LINKS", "/links")];
}
