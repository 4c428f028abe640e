//! Certificates of nodes that are not trusted: why, and what to do.
//!
//! Invariant: each variant is a thing an operator does something else about.

use rustls::CertificateError;

use super::refusal::now;
use crate::facts::{Facts, moment};

/// Why a node's certificate is not trusted, though it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// None of the known authorities signed it.
    Issuer,
    /// It is over.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// It is another host's: this is what was dialled.
    Name(String),
    /// Something else, in rustls' words.
    Other(String),
}

impl Untrusted {
    pub(crate) fn of(error: &CertificateError, name: &str) -> Self {
        use CertificateError as E;
        match error {
            E::UnknownIssuer | E::BadSignature => Self::Issuer,
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYet,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::Name(name.to_owned()),
            other => Self::Other(other.to_string()),
        }
    }

    pub(crate) fn sentence(&self, node: &Facts) -> String {
        match self {
            Self::Issuer => "the node's certificate is not signed by an authority of the context".into(),
            Self::Expired => format!("the node's certificate is over since {}", moment(node.not_after)),
            Self::NotYet => {
                format!("the node's certificate is only valid from {} on", moment(node.not_before))
            }
            Self::Name(name) => {
                format!("the node's certificate is not for {name}; it is for {}", node.names.join(", "))
            }
            Self::Other(why) => format!("the node's certificate is not acceptable: {why}"),
        }
    }

    pub(crate) fn remedy(&self, node: &Facts) -> String {
        match self {
            Self::Issuer => "a node without configuration (maintenance) has a certificate of its own: give the fingerprint \
                             that its console shows, by --fingerprint;\na node that is configured belongs to another \
                             context, or the address to another machine (see `apictl context list`)"
                .into(),
            Self::Expired => "compare the clock of this computer; a node without an Authority near it is given a new one by \
                              `apictl cert renew --node --secrets FILE --fingerprint SHA256`, with the fingerprint that its console \
                              shows"
                .into(),
            Self::NotYet => format!(
                "the clock of this computer is behind ({} now), or the node's was ahead when it was signed",
                moment(now())
            ),
            Self::Name(_) => {
                let name = node.names.first().map_or("NAME", String::as_str);
                format!("give a name that it is for: --server-name {name}; or add the missing one to the document Api: \
                         subjectNames")
            }
            Self::Other(_) => "compare `stele: fingerprint` on its console, then give that one by --fingerprint".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_for_a_certificate_that_is_over_is_a_whole_command() {
        let told = Untrusted::Expired.remedy(&Facts::default());
        assert!(told.contains("`apictl cert renew --node --secrets FILE --fingerprint SHA256`"), "{told}");
    }
}
