//! `kind: Authority`: this machine signs the certificates of others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pem;
use crate::{Check, Kind};

/// This machine signs certificates for the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// The authority's own certificate as PEM text.
    pub certificate: String,
    /// Name of the secret that holds its key.
    pub secret: String,
}

impl Kind for Authority {
    const KIND: &'static str = "Authority";
    const NAMED: bool = false;
    const DOC: &'static str = "This machine signs certificates for the API: its own, and those of machines and operators \
                               that renew theirs here. Its key is a secret.";
    const EXAMPLES: &'static [&'static str] = &[concat!(
        "apiVersion: stele/v1\nkind: Authority\ncertificate: |\n",
        include_str!("example-ca.txt"),
        "secret: api-ca\n"
    )];

    fn check(&self, _: Option<&str>, found: &mut Check<'_>) {
        if let Err(message) = pem::authority(&self.certificate) {
            found.problem("certificate", message);
        }
        found.need("secret", crate::word::is_name(&self.secret), "expected the name of a secret, such as api-ca");
    }

    fn secrets(&self) -> Vec<&str> {
        vec![&self.secret]
    }
}
