//! `kind: TrustedRoots`: authorities that programs on the machine trust.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pem;
use crate::word;
use crate::{Check, Kind};

/// Authorities that programs on the machine trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustedRoots {
    /// One or more certificates as PEM text.
    pub certificates: String,
}

impl TrustedRoots {
    /// The certificates, as DER.
    pub fn der(&self) -> Vec<Vec<u8>> {
        pem::certificates(&self.certificates).unwrap_or_default()
    }
}

impl Kind for TrustedRoots {
    const KIND: &'static str = "TrustedRoots";
    const NAMED: bool = true;
    const NAME: &'static str = "Any name of yours.";
    const DOC: &'static str = "Authorities that programs on the machine trust when they connect to others (a registry, a \
                               time server). The image itself brings none. They say nothing about who may use the API.";
    const EXAMPLES: &'static [&'static str] = &[concat!(
        "apiVersion: stele/v1\nkind: TrustedRoots\nname: example\ncertificates: |\n",
        include_str!("example-ca.txt")
    )];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        found.need("name", name.is_none_or(word::is_name), word::NAME);
        if let Err(message) = pem::certificates(&self.certificates) {
            found.problem("certificates", message);
        }
    }
}
