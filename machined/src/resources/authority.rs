//! The authority with which this machine signs: as its document wants it (`authority-spec`), and whether it can (`authority`).
//! One object each, id "authority", absent without a document; written by `pki/access` and `pki/certificate`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// What shall sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthoritySpec {
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    /// Name of the secret that holds its key.
    pub secret: String,
    /// The document that says so.
    pub origin: Origin,
}

/// What signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Authority {
    /// SHA-256 of its certificate.
    pub fingerprint: String,
    /// Its name.
    pub subject: String,
    /// Why it cannot sign; empty when it can.
    pub problem: String,
    /// The document that says so.
    pub origin: Origin,
}

impl AuthoritySpec {
    /// The one id.
    pub const ID: &'static str = "authority";
}

impl Authority {
    /// The one id.
    pub const ID: &'static str = "authority";
}

impl Resource for AuthoritySpec {
    const TYPE: &'static str = "authority-spec";
    const PLURAL: &'static str = "authority-specs";
    const DOC: &'static str = "The authority with which this machine shall sign certificates.";
    const COLUMNS: &'static [Column] = &[
        Column::new("FINGERPRINT", "/fingerprint"),
        Column::new("SECRET", "/secret"),
        Column::wide("LINE", "/origin/line"),
    ];
}

impl Resource for Authority {
    const TYPE: &'static str = "authority";
    const PLURAL: &'static str = "authorities";
    const DOC: &'static str = "The authority with which this machine signs certificates, and whether it can.";
    const COLUMNS: &'static [Column] = &[
        Column::new("SUBJECT", "/subject"),
        Column::new("PROBLEM", "/problem"),
        Column::wide("FINGERPRINT", "/fingerprint"),
        Column::wide("LINE", "/origin/line"),
    ];
}
