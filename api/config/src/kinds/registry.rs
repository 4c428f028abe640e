//! `kind: Registry`: how a registry of images is reached, and as whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pem;
use crate::word;
use crate::{Check, Kind};

/// A registry of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// Registries that are asked before it, in this order: host or host:port. How they are reached, documents of their own say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// Authorities that are trusted for it beside those of `TrustedRoots`, as PEM text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<String>,
    /// As whom. Without one `secret` is a token (Bearer).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Name of the secret whose `value` is the password or the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The proxy through which it is reached: `http://proxy.example.com:3128`. Without one it is reached directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// It is reached by HTTP, without TLS: everybody on the way can read the password, and withhold images. What is in an image
    /// they cannot change, as long as `ImagePolicy` requires signatures.
    #[serde(default)]
    pub plain_http: bool,
}

/// More mirrors than anybody has; each may take its time to fail.
const MOST_MIRRORS: usize = 16;

impl Registry {
    /// The authorities of its own, as DER.
    pub fn der(&self) -> Vec<Vec<u8>> {
        self.certificates.as_deref().and_then(|text| pem::certificates(text).ok()).unwrap_or_default()
    }
}

impl Kind for Registry {
    const KIND: &'static str = "Registry";
    const NAMED: bool = true;
    const NAME: &'static str =
        "The registry, as in names of images: `registry.example.com` or `registry.example.com:5000`.";
    const DOC: &'static str = "How a registry of images is reached, and as whom. A registry that no document names is reached \
                               by HTTPS, directly, as nobody, and needs a certificate that an authority of `TrustedRoots` \
                               signed.";
    const EXAMPLES: &'static [&'static str] = &[
        concat!(
            "apiVersion: stele/v1
kind: Registry
name: registry.example.com
mirrors:
- mirror.example.com:5000
certificates: |
",
            include_str!("example-ca.txt"),
            "user: node
secret: registry-password
proxy: http://proxy.example.com:3128
"
        ),
        "apiVersion: stele/v1
kind: Registry
name: 192.0.2.9:5000
plainHttp: true
",
    ];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        let expected = "expected host or host:port, such as registry.example.com:5000";
        found.need("name", name.is_none_or(word::is_authority), expected);
        found.need("mirrors", self.mirrors.len() <= MOST_MIRRORS, "expected at most 16 mirrors");
        for (i, mirror) in self.mirrors.iter().enumerate() {
            let path = format!("mirrors[{i}]");
            found.need(&path, word::is_authority(mirror), expected);
            found.need(&path, !self.mirrors[..i].contains(mirror), "this mirror is there before: keep one");
            found.need(&path, name != Some(mirror), "a registry is no mirror of itself");
        }
        if let Some(Err(message)) = self.certificates.as_deref().map(pem::certificates) {
            found.problem("certificates", message);
        }
        let tls = self.certificates.is_none() || !self.plain_http;
        found.need("certificates", tls, "goes only without plainHttp: there is no certificate to be checked");
        if let Some(user) = &self.user {
            let right = !user.is_empty() && !user.contains(|c: char| c == ':' || c.is_control());
            found.need("user", right, "expected a name without a colon");
            found.need("user", self.secret.is_some(), "needs secret, the name of the secret with the password");
        }
        if let Some(secret) = &self.secret {
            found.need("secret", word::is_name(secret), "expected the name of a secret, such as registry-password");
        }
        if let Some(proxy) = &self.proxy {
            let host = proxy.strip_prefix("http://").or(proxy.strip_prefix("https://"));
            let host = host.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
            let message = "expected a URL with a port, such as http://proxy.example.com:3128";
            found.need("proxy", host.is_some_and(word::is_endpoint), message);
        }
    }

    fn secrets(&self) -> Vec<&str> {
        self.secret.as_deref().into_iter().collect()
    }
}
