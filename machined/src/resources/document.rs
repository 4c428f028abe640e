//! A document of the configuration that is in effect, id `Link/eth0`. Written by `config`, read by the controllers through
//! [`crate::documents`]. Documents hold no secrets, only their names.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// `Link`.
    pub kind: String,
    /// Of those kinds that can be there more than once; else empty.
    pub name: String,
    /// The line it begins at, from 1.
    pub line: u64,
    /// The revision it is part of.
    pub revision: u64,
    /// Its fields, defaults filled in.
    pub body: serde_json::Value,
}

impl Resource for Document {
    const TYPE: &'static str = "document";
    const PLURAL: &'static str = "documents";
    const DOC: &'static str = "A document of the configuration that is in effect.";
    const COLUMNS: &'static [Column] = &[
        Column::new("KIND", "/kind"),
        Column::new("NAME", "/name"),
        Column::new("REVISION", "/revision"),
        Column::new("LINE", "/line"),
    ];
}
