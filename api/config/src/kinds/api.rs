//! `kind: Api`: who may use the API, and as whom the machine answers.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pem;
use crate::word::{self, Net};
use crate::{Check, Kind, Span};

// What the machine's gateway holds, with room for the rescue's and its own.
const MOST_ACCEPTED: usize = 32;
const MOST_ALLOWED: usize = 1000;
const MOST_REVOKED: usize = 10_000;

/// Who may use the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    /// Authorities whose client certificates are let in. Two at a time while one replaces the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<Accepted>,
    /// The certificate of the rescue authority as PEM text: short-lived certificates of it are always let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue: Option<String>,
    /// Further names and addresses the machine is reached by; they stand in its certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_names: Vec<String>,
    /// Networks that may connect. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Net>,
    /// SHA-256 fingerprints of certificates that are no longer let in: 64 hexadecimal digits, with or without colons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// How long certificates are good that this machine signs as an `Authority`.
    #[serde(default)]
    pub certificates: Certificates,
    /// Machines with an `Authority`, as host:port, where this one renews its certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renew_from: Vec<String>,
}

/// An authority whose client certificates are let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// A name of yours for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its certificate as PEM text.
    pub certificate: String,
}

/// How long certificates are good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Certificates {
    /// Those of machines.
    pub server: Span,
    /// Those of operators.
    pub client: Span,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Default for Certificates {
    fn default() -> Self {
        Self { server: Span(24 * HOUR), client: Span(720 * HOUR) }
    }
}

impl Api {
    /// The revoked fingerprints: lower case, no colons.
    pub fn revoked(&self) -> impl Iterator<Item = String> {
        self.revoked.iter().filter_map(|text| fingerprint(text))
    }
}

/// A fingerprint as 64 lower-case hexadecimal digits.
fn fingerprint(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_lowercase()).collect();
    (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

impl Kind for Api {
    const KIND: &'static str = "Api";
    const NAMED: bool = false;
    const DOC: &'static str = "Who may use the API, and as whom the machine answers. `apictl gen config` writes it; a machine \
                               needs one with an accepted authority before it leaves maintenance.";
    const KEYED: &'static [(&'static str, &'static str)] = &[("accept", "name")];
    const EXAMPLES: &'static [&'static str] = &[concat!(
        "apiVersion: stele/v1\nkind: Api\naccept:\n- name: example\n  certificate: |\n",
        include_str!("example-ca-deep.txt"),
        "rescue: |\n",
        include_str!("example-ca.txt"),
        "subjectNames:
- node-1.example.com
- 203.0.113.7
allow:
- 192.0.2.0/24
- 2001:db8::/32
revoked:
- 0f6ebfcaee43b3bb0a8ad8de0bdc4e7a0b0e2bd5d1cbd0b3de0e0ff6f1b8a0ce
certificates:
  server: 24h
  client: 720h
renewFrom:
- node-0.example.com:50000
"
    )];

    fn check(&self, _: Option<&str>, found: &mut Check<'_>) {
        let most = [
            ("accept", self.accept.len(), MOST_ACCEPTED),
            ("allow", self.allow.len(), MOST_ALLOWED),
            ("revoked", self.revoked.len(), MOST_REVOKED),
        ];
        for (path, have, most) in most {
            found.need(path, have <= most, &format!("there are {have}, expected {most} at most"));
        }
        let mut known: Vec<Vec<u8>> = Vec::new();
        for (i, accepted) in self.accept.iter().enumerate() {
            let path = format!("accept[{i}].certificate");
            match pem::authority(&accepted.certificate) {
                Ok(der) if known.contains(&der) => found.problem(&path, "this certificate is there before: keep one"),
                Ok(der) => known.push(der),
                Err(message) => found.problem(&path, message),
            }
        }
        if let Some(Err(message)) = self.rescue.as_deref().map(pem::authority) {
            found.problem("rescue", message);
        }
        for (i, name) in self.subject_names.iter().enumerate() {
            found.need(&format!("subjectNames[{i}]"), word::is_host(name), "expected a host name or an address");
        }
        for (i, net) in self.allow.iter().enumerate() {
            let message = format!("bits are set behind the prefix: expected {}", net.trunc());
            found.need(&format!("allow[{i}]"), net.0 == net.trunc(), &message);
        }
        for (i, text) in self.revoked.iter().enumerate() {
            let message = "expected the SHA-256 fingerprint of a certificate: 64 hexadecimal digits";
            found.need(&format!("revoked[{i}]"), fingerprint(text).is_some(), message);
        }
        let between = |span: Span, least, most| (least..=most).contains(&span.0);
        let message = "expected 1h to 8760h, a year";
        found.need("certificates.server", between(self.certificates.server, HOUR, 8760 * HOUR), message);
        found.need("certificates.client", between(self.certificates.client, HOUR, 8760 * HOUR), message);
        for (i, node) in self.renew_from.iter().enumerate() {
            found.need(
                &format!("renewFrom[{i}]"),
                word::is_endpoint(node),
                "expected host:port, such as node-0.example.com:50000",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_more_is_accepted_than_the_gateway_can_hold() {
        let ca: String = include_str!("example-ca-deep.txt").into();
        let with = |nets: usize| {
            let nets: String = (0..nets).map(|n| format!("- 10.{}.{}.0/24\n", n / 256, n % 256)).collect();
            crate::parse(&format!("apiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n{ca}allow:\n{nets}"))
        };
        assert!(with(1000).is_ok(), "{:?}", with(1000));
        let refused = with(1001).unwrap_err().to_string();
        assert!(refused.contains("there are 1001, expected 1000 at most"), "{refused}");
    }
}
