//! Authorities that programs on the machine trust: wanted (`trusted-roots-spec`) and in the file that programs read
//! (`trusted-roots`). The id is the document's name; written by `system/roots`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// Authorities that shall be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustedRootsSpec {
    /// SHA-256 fingerprints of the certificates.
    pub certificates: Vec<String>,
    /// Where it stands.
    pub origin: Origin,
}

impl Resource for TrustedRootsSpec {
    const TYPE: &'static str = "trusted-roots-spec";
    const PLURAL: &'static str = "trusted-roots-specs";
    const DOC: &'static str = "Authorities that programs on the machine shall trust.";
    const COLUMNS: &'static [Column] =
        &[Column::new("CERTIFICATES", "/certificates"), Column::wide("LINE", "/origin/line")];
}

/// Authorities that are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustedRoots {
    /// SHA-256 fingerprints of the certificates.
    pub certificates: Vec<String>,
    /// The file that programs read.
    pub file: String,
    /// Where it stands.
    pub origin: Origin,
}

impl Resource for TrustedRoots {
    const TYPE: &'static str = "trusted-roots";
    const PLURAL: &'static str = "all-trusted-roots";
    const DOC: &'static str = "Authorities that programs on the machine trust.";
    const COLUMNS: &'static [Column] = &[
        Column::new("CERTIFICATES", "/certificates"),
        Column::new("FILE", "/file"),
        Column::wide("LINE", "/origin/line"),
    ];
}
