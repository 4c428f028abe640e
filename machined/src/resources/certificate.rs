//! Certificates that matter to this machine, with their end: what it shows, what it signs with, whose clients it lets in.
//! Ids: `api`, `authority`, `accepted/N`, `rescue`. Written by `pki/certificate`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// What a certificate's time says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// It is good.
    Valid,
    /// It ends soon: something has to be done.
    EndsSoon,
    /// It is over.
    Over,
    /// It begins later, by this machine's clock.
    NotYet,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// What it is for: "the API shows it".
    pub purpose: String,
    /// What its time says.
    pub validity: Validity,
    /// What happens before its end, or has to be done.
    pub renewal: String,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// SHA-256 of its DER bytes, hexadecimal.
    pub fingerprint: String,
    /// DNS names and addresses in it.
    pub names: Vec<String>,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
    /// The document that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Certificate {
    /// Id of the one that the API shows.
    pub const API: &'static str = "api";
    /// Id of the one that this machine signs with.
    pub const AUTHORITY: &'static str = "authority";
    /// Id of the rescue authority's.
    pub const RESCUE: &'static str = "rescue";
}

impl Resource for Certificate {
    const TYPE: &'static str = "certificate";
    const PLURAL: &'static str = "certificates";
    const ALIASES: &'static [&'static str] = &["cert", "certs"];
    const DOC: &'static str =
        "A certificate that matters to this machine: what it shows, signs with or lets in, and until when.";
    const COLUMNS: &'static [Column] = &[
        Column::new("SUBJECT", "/subject"),
        Column::new("VALIDITY", "/validity"),
        Column::new("UNTIL", "/notAfter"),
        Column::new("RENEWAL", "/renewal"),
        Column::wide("ISSUER", "/issuer"),
        Column::wide("FINGERPRINT", "/fingerprint"),
        Column::wide("NAMES", "/names"),
    ];
}
