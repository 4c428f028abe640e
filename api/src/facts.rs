//! What an error about a certificate has to say of it: whose it is, for which names, from when until when.
//!
//! Invariant: reading never fails loudly; what cannot be read is simply not said. Called by `connect` and `error`.

use jiff::{Timestamp, tz::TimeZone};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A certificate in a few words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `O=stele:admin, CN=operator`.
    pub subject: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// DNS names and addresses.
    pub names: Vec<String>,
}

impl Facts {
    /// Of a certificate in DER; `None` when it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().ok().flatten();
        Some(Self {
            subject: certificate.subject().to_string(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            names: names.map(|names| names.value.general_names.iter().filter_map(name).collect()).unwrap_or_default(),
        })
    }

    /// "from 2026-11-21 until 2026-12-21", with the time of day.
    pub fn span(&self) -> String {
        format!("from {} until {}", moment(self.not_before), moment(self.not_after))
    }
}

/// A moment as it is written in errors: "2026-11-21 15:04 UTC".
pub fn moment(unix: i64) -> String {
    let at = Timestamp::from_second(unix).map(|at| at.to_zoned(TimeZone::UTC));
    at.map_or_else(|_| format!("{unix} s after 1970"), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
            ref bytes => <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(i64::MAX), format!("{} s after 1970", i64::MAX));
        assert_eq!(Facts::of(b"none"), None);
    }

    fuzz::targets! {
        // Of whoever answers, before anything is verified.
        certificate_facts: |bytes| {
            let Some(facts) = Facts::of(bytes) else { return };
            assert!(facts.span().starts_with("from "));
        },
    }
}
