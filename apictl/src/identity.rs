//! The client's own certificate and the authorities it trusts: from files, or from the context.
//!
//! Invariant: a key is read only from a file that nobody else can read, and goes nowhere but into the TLS handshake.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use api::{
    connect::{Authorities, Identity},
    facts::{Facts, moment},
};

use crate::{
    cli::Global,
    exit::{Failure, Result},
    secret,
    settings::{Context, Secret},
};

/// When this part of its lifetime is left, a certificate is warned about.
const LAST: i64 = 4;

/// The certificate to show: the command line's, else the context's.
pub(crate) fn client(global: &Global, context: Option<&Context>) -> Result<Option<Identity>> {
    if let Some(path) = &global.client_cert {
        let place = path.display().to_string();
        let (certificate, key) = match &global.client_key {
            Some(key) => (Secret::from(read(path)?), secret::read(key)?),
            None => {
                let both = secret::read(path)?;
                (both.clone(), both)
            }
        };
        return identity(certificate.reveal(), &key, &place).map(Some);
    }
    let Some((context, certificate)) = context.and_then(|context| Some((context, context.certificate.as_ref()?)))
    else {
        return Ok(None);
    };
    let key = match (&context.key, &context.key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(path)) => secret::read(path)?,
        (None, None) => return Err(Failure::usage("the context has a client certificate without its key", AGAIN)),
    };
    identity(certificate, &key, "the context").map(Some)
}

const AGAIN: &str = "make a new certificate: apictl cert new --secrets FILE";

/// Certificate and key from PEM.
pub(crate) fn identity(certificate: &str, key: &Secret, place: &str) -> Result<Identity> {
    Identity::from_pem(certificate, key.reveal())
        .map_err(|error| Failure::usage(format!("client certificate of {place}: {error}"), AGAIN))
}

/// Trust in authorities from PEM.
pub(crate) fn authorities(pem: &str, place: &str) -> Result<Authorities> {
    Authorities::from_pem(pem).map_err(|error| Failure::usage(format!("{place}: {error}"), ""))
}

/// A file of PEM in two: its certificates, and the rest, which is the key.
pub(crate) fn split(pem: &str) -> (String, String) {
    let (mut certificates, mut rest) = (String::new(), String::new());
    let mut inside = false;
    for line in pem.lines() {
        inside |= line.starts_with("-----BEGIN CERTIFICATE-----");
        let part = if inside { &mut certificates } else { &mut rest };
        part.extend([line, "\n"]);
        inside &= !line.starts_with("-----END CERTIFICATE-----");
    }
    (certificates, rest)
}

/// A file that holds nothing secret.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Failure::usage(format!("reading {}: {error}", path.display()), ""))
}

/// What to say when the certificate is soon over; one that is over is refused by the node, which is said then.
pub(crate) fn warning(identity: &Identity) -> Option<String> {
    warn_at(identity.facts(), now())
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn warn_at(facts: &Facts, now: i64) -> Option<String> {
    let left = facts.not_after - now;
    (left > 0 && left < (facts.not_after - facts.not_before) / LAST).then(|| {
        let until = moment(facts.not_after);
        format!("WARNING: your certificate is valid only until {until} ({} left): apictl cert renew", span(left))
    })
}

/// "12 days", "5 h", "3 min": the largest unit of which there are two.
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        172_800.. => format!("{} days", seconds / 86400),
        7200.. => format!("{} h", seconds / 3600),
        _ => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_is_warned_about() {
        let facts = Facts { not_before: 0, not_after: 100 * 86400, ..Facts::default() };
        assert_eq!(warn_at(&facts, 74 * 86400), None);
        let warning = warn_at(&facts, 76 * 86400).unwrap();
        assert!(warning.contains("24 days") && warning.contains("1970-04-11"), "{warning}");
        assert_eq!(warn_at(&facts, 101 * 86400), None);
    }

    #[test]
    fn a_file_with_both_is_split() {
        let certificate = "-----BEGIN CERTIFICATE-----\na\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nb\n-----END PRIVATE KEY-----\n";
        let expected = (certificate.repeat(2), key.to_owned());
        assert_eq!(split(&format!("{certificate}{key}{certificate}")), expected);
    }

    #[test]
    fn spans() {
        assert_eq!([span(40), span(7200), span(172_800)], ["0 min", "2 h", "2 days"]);
    }
}
