//! Secrets, which documents refer to by name: `kind: Secrets`. Kept apart from documents, shown nowhere, wiped from memory
//! when dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Text that Debug does not show and that is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Private(String);

impl Private {
    /// The text itself: for who uses it, never for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Private {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// One secret: an authority, with its key or without; or a text such as a password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// The certificate that belongs to it, as PEM text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The private key as PEM text (PKCS #8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Private>,
    /// A password, a token or the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Private>,
}

/// Secrets by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secrets {
    /// By the name that documents refer to.
    pub secrets: BTreeMap<String, Secret>,
}

impl Secrets {
    /// The secret of this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)
    }

    /// Just those named, or which of them are missing.
    pub fn named(&self, names: &BTreeSet<String>) -> Result<Self, Vec<String>> {
        let missing: Vec<_> = names.iter().filter(|name| !self.secrets.contains_key(*name)).cloned().collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let named = self.secrets.iter().filter(|(name, _)| names.contains(*name));
        Ok(Self { secrets: named.map(|(name, secret)| (name.clone(), secret.clone())).collect() })
    }

    /// As a document of a stream. It holds the secrets.
    pub fn format(&self) -> String {
        let body = serde_saphyr::to_string(self).unwrap_or_default();
        format!("apiVersion: {}\nkind: {}\n{body}", crate::API_VERSION, Self::KIND)
    }

    /// As in `kind: Secrets`.
    pub const KIND: &'static str = "Secrets";
}
