//! Where in the configuration something comes from. Part of specs and statuses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A document of a revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The document: `Link/eth0`.
    pub document: String,
    /// The line it begins at in its revision, from 1; 0 when unknown.
    pub line: u64,
    /// The revision.
    pub revision: u64,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (revision {}, line {})", self.document, self.revision, self.line)
    }
}
