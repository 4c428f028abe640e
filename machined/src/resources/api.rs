//! Who may use the API: as the documents want it (`api-spec`), and as the gateway serves (`api`). One object each, id "api";
//! written by `pki/access`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// Who shall be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiSpec {
    /// SHA-256 of the authorities whose clients are let in.
    pub accepted: Vec<String>,
    /// SHA-256 of the rescue authority; empty: the document names none.
    pub rescue: String,
    /// Networks that clients may come from; none: all.
    pub allow: Vec<String>,
    /// How many certificates are no longer let in.
    pub revoked: u64,
    /// Further names of the machine, for its certificate.
    pub subject_names: Vec<String>,
    /// Machines that renew its certificate.
    pub renew_from: Vec<String>,
    /// The document that says so.
    pub origin: Origin,
}

/// Who is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    /// Strangers are let in: nobody has configured this machine.
    pub maintenance: bool,
    /// SHA-256 of the certificate that is shown; empty: none.
    pub fingerprint: String,
    /// SHA-256 of the authorities whose clients are let in; the machine's own, by which it asks itself, is among them.
    pub accepted: Vec<String>,
    /// SHA-256 of the rescue authorities.
    pub rescue: Vec<String>,
    /// Networks that clients may come from; none: all.
    pub allow: Vec<String>,
    /// How many certificates are not let in any more.
    pub revoked: u64,
    /// Why the gateway does not serve so; empty when it does.
    pub problem: String,
    /// The document that says so; absent in maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl ApiSpec {
    /// The one id.
    pub const ID: &'static str = "api";
}

impl Api {
    /// The one id.
    pub const ID: &'static str = "api";
}

impl Resource for ApiSpec {
    const TYPE: &'static str = "api-spec";
    const PLURAL: &'static str = "api-specs";
    const DOC: &'static str = "Who shall be let in by the API.";
    const COLUMNS: &'static [Column] = &[
        Column::new("ALLOW", "/allow"),
        Column::new("REVOKED", "/revoked"),
        Column::new("RENEW-FROM", "/renewFrom"),
        Column::wide("ACCEPTED", "/accepted"),
        Column::wide("LINE", "/origin/line"),
    ];
}

impl Resource for Api {
    const TYPE: &'static str = "api";
    const PLURAL: &'static str = "apis";
    const DOC: &'static str = "Who is let in by the API, as its gateway serves.";
    const COLUMNS: &'static [Column] = &[
        Column::new("MAINTENANCE", "/maintenance"),
        Column::new("ALLOW", "/allow"),
        Column::new("REVOKED", "/revoked"),
        Column::new("PROBLEM", "/problem"),
        Column::wide("FINGERPRINT", "/fingerprint"),
        Column::wide("ACCEPTED", "/accepted"),
        Column::wide("RESCUE", "/rescue"),
        Column::wide("LINE", "/origin/line"),
    ];
}
