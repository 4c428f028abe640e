//! What an authority signs: certificates for clients, for the rescue and for nodes.
//!
//! Invariant: nothing outlives its authority; a validity begins an hour ago, for clocks that differ.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, SerialNumber};

use super::{Ca, Certificate, Error, Request, key::alternative};
use crate::roles::Role;

/// How far back a validity begins: what is good for an hour from now has a lifetime of two.
pub const BACK: Duration = Duration::from_secs(3600);

/// The longest validity of a certificate of a rescue authority, from its beginning to its end: nodes refuse longer ones.
pub const RESCUE: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a serial number: RFC 5280 allows 20, and wants more than 64 random bits.
const SERIAL: usize = 16;

/// A certificate for a person or a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Who: 1 to 64 characters; audit records show it.
    pub common_name: String,
    /// What it may do.
    pub role: Role,
    /// How long from now.
    pub ttl: Duration,
}

/// A certificate for a node: server, and client among nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its DNS names and addresses; the first is its common name.
    pub names: Vec<String>,
    /// How long from now.
    pub ttl: Duration,
}

impl Ca {
    /// Signs for a client.
    pub fn sign_client(&self, request: &Request, client: &Client) -> Result<Certificate, Error> {
        self.sign_client_at(request, client, SystemTime::now())
    }

    /// As [`Ca::sign_client`], by another clock.
    pub fn sign_client_at(&self, request: &Request, client: &Client, now: SystemTime) -> Result<Certificate, Error> {
        self.sign(request, client, BACK, now)
    }

    /// Signs for a client of the rescue: at most 24 hours, from its beginning to its end. This authority is the rescue's.
    pub fn sign_rescue(&self, request: &Request, client: &Client) -> Result<Certificate, Error> {
        self.sign_rescue_at(request, client, SystemTime::now())
    }

    /// As [`Ca::sign_rescue`], by another clock.
    pub fn sign_rescue_at(&self, request: &Request, client: &Client, now: SystemTime) -> Result<Certificate, Error> {
        let rest = RESCUE.checked_sub(client.ttl).ok_or_else(|| {
            Error::Refused(
                "a certificate of the rescue authority is valid for 24 h at most: nodes refuse longer ones".into(),
            )
        })?;
        self.sign(request, client, rest.min(BACK), now)
    }

    /// Signs for a node.
    pub fn sign_node(&self, request: &Request, node: &Node) -> Result<Certificate, Error> {
        self.sign_node_at(request, node, SystemTime::now())
    }

    /// As [`Ca::sign_node`], by another clock.
    pub fn sign_node_at(&self, request: &Request, node: &Node, now: SystemTime) -> Result<Certificate, Error> {
        let first = node.names.first().ok_or_else(|| Error::Refused("a node needs a name or an address".into()))?;
        // RFC 5280 ends it there; the whole name is among the others.
        let common_name: String = first.chars().take(64).collect();
        let mut params = self.params(&common_name, Role::Node, BACK, node.ttl, now)?;
        params.subject_alt_names = node.names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, request)
    }

    fn sign(&self, request: &Request, client: &Client, back: Duration, now: SystemTime) -> Result<Certificate, Error> {
        let name = &client.common_name;
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            return Err(Error::Refused("a client's name has 1 to 64 printable characters".into()));
        }
        let mut params = self.params(name, client.role, back, client.ttl, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, request)
    }

    fn params(
        &self,
        common_name: &str,
        role: Role,
        back: Duration,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<CertificateParams, Error> {
        let ended = self.certificate.left(now).is_zero();
        if ended {
            let ended = crate::facts::moment(self.certificate.not_after);
            return Err(Error::Ended { subject: self.certificate.subject.clone(), ended });
        }
        let failed = |error: rcgen::Error| Error::Make { what: "a certificate", why: error.to_string() };
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.distinguished_name.push(DnType::OrganizationName, role.organisation());
        params.not_before = moment(now.checked_sub(back).unwrap_or(UNIX_EPOCH))?;
        params.not_after = moment(now + ttl.min(self.certificate.left(now)))?;
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(params)
    }

    fn issue(&self, params: &CertificateParams, request: &Request) -> Result<Certificate, Error> {
        let failed = |error: rcgen::Error| Error::Make { what: "a certificate", why: error.to_string() };
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der().into(), &self.key.0).map_err(failed)?;
        Certificate::from_der(params.signed_by(request, &issuer).map_err(failed)?.der())
    }
}

/// Whole seconds, as certificates have them.
pub(super) fn moment(time: SystemTime) -> Result<time::OffsetDateTime, Error> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rcgen::date_time_ymd(1970, 1, 1)
        .checked_add(time::Duration::seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
        .ok_or(Error::Make { what: "a certificate", why: "its end is too far away".into() })
}

/// Random, positive, and not zero.
pub(super) fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0; SERIAL];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::Make { what: "a certificate", why: "no random numbers".into() })?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from(bytes.to_vec()))
}
