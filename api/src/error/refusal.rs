//! Clients that a node does not let in: what its alert means, and what to do.
//!
//! Invariant: each variant is a thing an operator does something else about.

use std::{fmt, time::SystemTime};

use rustls::AlertDescription;

use crate::facts::{Facts, moment};

/// Why a node does not let a client in, from the alert it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It wants a client certificate and got none.
    Required,
    /// The client's is over, or not valid yet, by the node's clock.
    Time,
    /// The client's is revoked.
    Revoked,
    /// The node does not accept who signed the client's.
    Issuer,
    /// The client's is not one for clients.
    Purpose,
    /// The client's is of the rescue, and valid for too long.
    TooLong,
    /// The client is in none of the networks that are allowed.
    Network,
    /// It is refused for another reason.
    Denied,
}

impl Refusal {
    pub(crate) fn of(alert: AlertDescription) -> Option<Self> {
        use AlertDescription as A;
        Some(match alert {
            A::CertificateRequired | A::NoCertificate => Self::Required,
            A::CertificateExpired => Self::Time,
            A::CertificateRevoked => Self::Revoked,
            A::UnknownCA => Self::Issuer,
            A::UnsupportedCertificate => Self::Purpose,
            A::CertificateUnknown => Self::TooLong,
            A::AccessDenied => Self::Network,
            A::BadCertificate | A::DecryptError => Self::Denied,
            _ => return None,
        })
    }

    pub(crate) fn sentence(self, client: Option<&Facts>) -> String {
        let whose = client.map_or_else(String::new, |client| format!(" ({})", client.subject));
        match (self, client) {
            (Self::Network, _) => "the node lets nobody in from the network that this computer is in".into(),
            (Self::Required, _) | (_, None) => "the node lets nobody in without a client certificate".into(),
            (Self::TooLong, _) => format!("the client certificate{whose} is of the rescue, and valid for too long"),
            (Self::Time, Some(client)) if client.not_after < now() => {
                format!("the client certificate{whose} is over since {}", moment(client.not_after))
            }
            (Self::Time, Some(client)) if client.not_before > now() => {
                format!("the client certificate{whose} is only valid from {} on", moment(client.not_before))
            }
            (Self::Time, Some(client)) => format!(
                "by its clock the node takes the client certificate{whose} for over or not valid yet; by the clock of this \
                 computer it is valid: {}",
                client.span()
            ),
            (Self::Revoked, _) => format!("the client certificate{whose} is revoked"),
            (Self::Issuer, _) => format!("the node does not accept who signed the client certificate{whose}"),
            (Self::Purpose, _) => format!("the client certificate{whose} is not one for clients"),
            (Self::Denied, _) => format!("the node refuses the client certificate{whose}"),
        }
    }

    pub(crate) fn remedy(self, client: Option<&Facts>, node: &Facts) -> String {
        const ANEW: &str =
            "make a new one with the secrets bundle: apictl cert new --secrets FILE (it is kept in the context)";
        const RESCUE: &str = "without it, get in with the rescue key: apictl cert new --rescue --secrets rescue.yaml";
        match (self, client) {
            (Self::Network, _) => {
                "the networks stand in the document Api under allow: connect from one of them; the rescue gets \
                                   in from everywhere: apictl cert new --rescue --secrets rescue.yaml"
                    .into()
            }
            (Self::Required, _) | (_, None) => format!(
                "use the context that has one (`apictl context list`), or give it by --client-cert FILE;\nor {ANEW}"
            ),
            (Self::Time, Some(client)) if client.not_after < now() => format!("{ANEW};\n{RESCUE}"),
            (Self::Time, Some(client)) if client.not_before > now() => {
                format!(
                    "compare the clock of this computer ({}) and of the one that signed it;\nor {ANEW}",
                    moment(now())
                )
            }
            (Self::Time, Some(_)) => format!(
                "the node's clock is probably wrong: this computer has {}, the node's own certificate is valid {};\nits \
                 console shows its time; time servers are in the document Time; {RESCUE}",
                moment(now()),
                node.span()
            ),
            (Self::Revoked, _) => format!("its fingerprint stands in the document Api under revoked; {ANEW}"),
            (Self::Issuer, _) => format!(
                "the document Api of the node accepts other authorities: use the context that belongs to it (`apictl context \
                 list`), or a secrets bundle that does;\n{RESCUE}"
            ),
            (Self::Purpose, _) => ANEW.to_owned(),
            (Self::TooLong, _) => {
                "at most 24 h, from beginning to end: apictl cert new --rescue --secrets rescue.yaml --ttl 8h".into()
            }
            (Self::Denied, _) => ANEW.to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(None))
    }
}

/// Seconds since 1970 by this computer's clock.
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(not_before: i64, not_after: i64) -> Facts {
        Facts { subject: "CN=operator".into(), not_before, not_after, names: vec![] }
    }

    #[test]
    fn times_are_told_apart() {
        let (now, day) = (now(), 86400);
        for (client, said, remedy) in [
            (client(0, now - day), "is over since", "--rescue"),
            (client(now + day, now + 2 * day), "only valid from", "clock of this computer"),
            (client(now - day, now + day), "by its clock the node", "clock is probably wrong"),
        ] {
            let sentence = Refusal::Time.sentence(Some(&client));
            assert!(sentence.contains(said), "{sentence}");
            let what = Refusal::Time.remedy(Some(&client), &Facts::default());
            assert!(what.contains(remedy), "{what}");
        }
    }

    #[test]
    fn every_alert_about_certificates_has_its_sentence() {
        use AlertDescription as A;
        for (alert, said) in [
            (A::CertificateRequired, "without a client certificate"),
            (A::CertificateRevoked, "is revoked"),
            (A::UnknownCA, "does not accept who signed"),
            (A::UnsupportedCertificate, "not one for clients"),
            (A::AccessDenied, "from the network"),
            (A::CertificateUnknown, "valid for too long"),
            (A::BadCertificate, "refuses the client certificate"),
        ] {
            let sentence = Refusal::of(alert).unwrap().sentence(Some(&client(0, i64::MAX)));
            assert!(sentence.contains(said), "{alert:?}: {sentence}");
        }
        assert_eq!(Refusal::of(A::InternalError), None);
    }
}
