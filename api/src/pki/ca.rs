//! An authority: a certificate that signs others, and its key.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyUsagePurpose};

use super::{
    Certificate, Error, Key,
    sign::{moment, serial},
};

/// Ten years: an authority is changed by `cert rotate-ca`, not by its end.
const LIFETIME: Duration = Duration::from_secs(3653 * 24 * 3600);

/// How far back its validity begins: nodes whose clock is behind take it all the same.
const BACK: Duration = Duration::from_secs(24 * 3600);

/// A certificate that signs others, with its key. The key is wiped when dropped and never printed.
pub struct Ca {
    pub(super) certificate: Certificate,
    pub(super) key: Key,
}

impl Ca {
    /// A new one; `name` is its common name.
    pub fn make(name: &str) -> Result<Self, Error> {
        Self::make_at(name, SystemTime::now())
    }

    /// As [`Ca::make`], by another clock.
    pub fn make_at(name: &str, now: SystemTime) -> Result<Self, Error> {
        let key = Key::make()?;
        let failed = |error: rcgen::Error| Error::Make { what: "an authority", why: error.to_string() };
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = moment(now.checked_sub(BACK).unwrap_or(SystemTime::UNIX_EPOCH))?;
        params.not_after = moment(now + LIFETIME)?;
        params.serial_number = Some(serial()?);
        // It signs no other authorities.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = Certificate::from_der(params.self_signed(&key.0).map_err(failed)?.der())?;
        Ok(Self { certificate, key })
    }

    /// From PEM.
    pub fn load(certificate: &str, key: &str) -> Result<Self, Error> {
        let (certificate, key) = (Certificate::parse(certificate)?, Key::from_pem(key)?);
        if !certificate.is_of(&key) {
            return Err(Error::Foreign(certificate.subject));
        }
        if !certificate.is_authority {
            return Err(Error::NoAuthority(certificate.subject));
        }
        Ok(Self { certificate, key })
    }

    /// Its certificate, which is public.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ca({:?})", self.certificate)
    }
}
