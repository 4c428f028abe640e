//! A certificate as we look at it: whose it is, what for, and until when.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Error, Key, key::names, pem_blocks, pem_text};
use crate::{fingerprint::Fingerprint, roles::Role};

/// What it is called in errors.
const WHAT: &str = "the certificate";

/// The PEM tag.
const TAG: &str = "CERTIFICATE";

/// A certificate that was parsed.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    public: Vec<u8>,
    /// Distinguished name of the holder: "CN=alice, O=stele:admin".
    pub subject: String,
    /// Of it, the common name; "" without one.
    pub common_name: String,
    /// Of it, every Organization.
    pub organisations: Vec<String>,
    /// Distinguished name of who signed it.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid until, in seconds since 1970.
    pub not_after: i64,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Whether its holder may be a TLS client with it.
    pub client: bool,
    /// Whether its holder may be a TLS server with it.
    pub server: bool,
}

impl Certificate {
    /// The one certificate of a PEM text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match Self::chain(text)?.pop() {
            Some(only) if pem_blocks("a certificate", &[TAG], text)?.len() == 1 => Ok(only),
            _ => Err(Error::Pem { what: "a certificate", why: "it has more than one".into() }),
        }
    }

    /// Every certificate of a PEM text, in order; at least one.
    pub fn chain(text: &str) -> Result<Vec<Self>, Error> {
        pem_blocks("a certificate", &[TAG], text)?.iter().map(|der| Self::from_der(der)).collect()
    }

    /// From DER.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let parse = |why: &str| Error::Parse { what: WHAT, why: why.to_owned() };
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| parse("it is not X.509"))?;
        if !rest.is_empty() {
            return Err(parse("there are bytes after it"));
        }
        let subject = certificate.subject();
        let text = |text: Result<&str, _>| text.map(str::to_owned).map_err(|_: x509_parser::error::X509Error| ());
        let organisations = subject.iter_organization().map(|o| text(o.as_str())).collect::<Result<_, _>>();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
        let alternative = certificate.subject_alternative_name().map_err(|_| parse("its names cannot be read"))?;
        let usage = certificate.extended_key_usage().map_err(|_| parse("its purposes cannot be read"))?;
        let basic = certificate.basic_constraints().map_err(|_| parse("its constraints cannot be read"))?;
        let may = |wanted: fn(&x509_parser::extensions::ExtendedKeyUsage<'_>) -> bool| {
            usage.as_ref().is_some_and(|usage| wanted(usage.value))
        };
        Ok(Self {
            public: certificate.public_key().subject_public_key.data.to_vec(),
            subject: subject.to_string(),
            common_name: common_name.to_owned(),
            organisations: organisations.map_err(|()| parse("its Organization is not text"))?,
            issuer: certificate.issuer().to_string(),
            serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            names: alternative.map(|all| names(&all.value.general_names)).unwrap_or_default(),
            is_authority: basic.is_some_and(|basic| basic.value.ca),
            client: may(|usage| usage.client_auth),
            server: may(|usage| usage.server_auth),
            der: der.to_vec(),
        })
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        pem_text(TAG, &self.der)
    }

    /// As DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the DER.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_der(&self.der)
    }

    /// The public key's bytes.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Whether this is the private key's certificate.
    pub fn is_of(&self, key: &Key) -> bool {
        self.public == key.public()
    }

    /// What its holder is to a node.
    pub fn roles(&self) -> Vec<Role> {
        self.organisations.iter().filter_map(|o| Role::of_organisation(o)).collect()
    }

    /// How long it is valid in all.
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.not_after.saturating_sub(self.not_before)).unwrap_or(0))
    }

    /// How long it is still valid at `now`; zero when it is not any more.
    pub fn left(&self, now: SystemTime) -> Duration {
        time(self.not_after).duration_since(now).unwrap_or_default()
    }

    /// Whether it is not valid yet at `now`.
    pub fn is_early(&self, now: SystemTime) -> bool {
        now < time(self.not_before)
    }

    /// Whether `issuer`'s key signed it.
    pub fn is_signed_by(&self, issuer: &Self) -> bool {
        let (Ok((_, this)), Ok((_, issuer))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&issuer.der))
        else {
            return false;
        };
        this.issuer() == issuer.subject() && this.verify_signature(Some(issuer.public_key())).is_ok()
    }
}

/// Seconds since 1970 as a time; what is before is 1970.
fn time(unix: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).unwrap_or(0))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.subject, self.fingerprint())
    }
}
