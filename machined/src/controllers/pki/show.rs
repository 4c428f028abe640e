//! Certificates as resources, and what has to be said about their ends. Pure.

use std::time::SystemTime;

use api::pki::Certificate;

use super::plan::soon;
use crate::resources::{
    certificate::{self, Validity},
    origin::Origin,
};

/// What its time says.
pub(super) fn validity(certificate: &Certificate, by_itself: bool, now: SystemTime) -> Validity {
    let left = certificate.left(now);
    if left.is_zero() {
        Validity::Over
    } else if certificate.is_early(now) {
        Validity::NotYet
    } else if left <= soon(certificate, by_itself) {
        Validity::EndsSoon
    } else {
        Validity::Valid
    }
}

/// A certificate as a resource.
pub(super) fn describe(
    certificate: &Certificate,
    purpose: &str,
    renewal: String,
    validity: Validity,
    origin: Option<Origin>,
) -> certificate::Certificate {
    certificate::Certificate {
        purpose: purpose.to_owned(),
        validity,
        renewal,
        subject: certificate.subject.clone(),
        issuer: certificate.issuer.clone(),
        fingerprint: certificate.fingerprint().to_string(),
        names: certificate.names.clone(),
        not_before: moment(certificate.not_before),
        not_after: moment(certificate.not_after),
        origin,
    }
}

/// RFC 3339.
pub(super) fn moment(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| format!("{unix} s after 1970"), |at| at.to_string())
}

/// What is said about an end, for people; none when there is nothing to say.
pub(super) fn sentence(what: &str, certificate: &Certificate, validity: Validity, remedy: &str) -> Option<String> {
    let until = moment(certificate.not_after);
    match validity {
        Validity::Valid => None,
        Validity::EndsSoon => Some(format!("{what} ends at {until}: {remedy}")),
        Validity::Over => Some(format!("{what} is over since {until}: {remedy}")),
        Validity::NotYet => {
            let from = moment(certificate.not_before);
            Some(format!(
                "{what} begins at {from}, by this machine's clock: the clock is wrong, or was when it was signed"
            ))
        }
    }
}
