//! `kind: ImagePolicy`: which images of the system this machine takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pem;
use crate::{Check, Kind};

/// What becomes of an image without a right signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// It is refused.
    #[default]
    Require,
    /// It is taken, and that is said. For development.
    Warn,
}

/// Which images are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImagePolicy {
    /// What becomes of an image that none of the keys signed: it is refused, or taken with a warning (for development).
    #[serde(default)]
    pub verify: Verify,
    /// Public keys that sign images, each as PEM text (ECDSA P-256, as of `cosign generate-key-pair`). Empty: those of the
    /// image that runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// Two while one replaces the other, and room for several makers.
const MOST_KEYS: usize = 16;

impl Kind for ImagePolicy {
    const KIND: &'static str = "ImagePolicy";
    const NAMED: bool = false;
    const DOC: &'static str = "Which installer images this machine takes for an upgrade. Without one: those that a key of the \
                               image that runs has signed.";
    const EXAMPLES: &'static [&'static str] = &[
        "apiVersion: stele/v1
kind: ImagePolicy
verify: require
keys:
- |
  -----BEGIN PUBLIC KEY-----
  MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAErLwUi2+CUQXLpmZN2CqivMPscBYv
  OCESC8jz8iWGnicG7KRQbt38oXqVc9T0OVjvZJd2BYhjiAZZbyPZk8CYLw==
  -----END PUBLIC KEY-----
",
        "apiVersion: stele/v1
kind: ImagePolicy
verify: warn
",
    ];

    fn check(&self, _: Option<&str>, found: &mut Check<'_>) {
        found.need("keys", self.keys.len() <= MOST_KEYS, "expected at most 16 keys");
        let mut known: Vec<Vec<u8>> = Vec::new();
        for (i, key) in self.keys.iter().enumerate() {
            let path = format!("keys[{i}]");
            match pem::p256(key) {
                Ok(der) if known.contains(&der) => found.problem(&path, "this key is there before: keep one"),
                Ok(der) => known.push(der),
                Err(message) => found.problem(&path, message),
            }
        }
    }
}
