//! A private key, and the request for a certificate that proves who has it.

use std::{fmt, net::IpAddr};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};
use zeroize::{Zeroize, Zeroizing};

use super::{Error, pem_blocks, pem_text};

/// What `openssl` and we call the two forms of a private key.
const PRIVATE: [&str; 2] = ["PRIVATE KEY", "EC PRIVATE KEY"];

/// OID of the curve P-256, and of ECDSA keys.
const P256: &str = "1.2.840.10045.3.1.7";
const EC: &str = "1.2.840.10045.2.1";

/// A private key. Wiped when dropped, never printed.
pub struct Key(pub(super) KeyPair);

impl Key {
    /// A new ECDSA P-256 key.
    pub fn make() -> Result<Self, Error> {
        let make = |error: rcgen::Error| Error::Make { what: "a key", why: error.to_string() };
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(make)
    }

    /// From PEM.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let blocks = pem_blocks("a private key", &PRIVATE, text)?;
        match blocks.as_slice() {
            [der] => Self::from_der(der),
            more => Err(Error::Pem { what: "a private key", why: format!("it has {} of them", more.len()) }),
        }
    }

    /// From PKCS#8 DER.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let parse = |error: rcgen::Error| Error::Parse { what: "the private key", why: error.to_string() };
        KeyPair::try_from(der).map(Self).map_err(parse)
    }

    /// PKCS#8, PEM.
    pub fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem_text(PRIVATE[0], self.0.serialized_der()))
    }

    /// PKCS#8, DER.
    pub fn der(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialized_der().to_vec())
    }

    /// The public key's bytes, as in a certificate.
    pub fn public(&self) -> &[u8] {
        self.0.der_bytes()
    }

    /// A request for a certificate for this key, with the names that it should have.
    pub fn request(&self, common_name: &str, names: &[String]) -> Result<Request, Error> {
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let request = params.serialize_request(&self.0).map_err(failed)?;
        Request::from_der(request.der())
    }
}

fn failed(error: rcgen::Error) -> Error {
    Error::Make { what: "a request", why: error.to_string() }
}

/// A name as certificates have it.
pub(super) fn alternative(name: &str) -> Result<rcgen::SanType, Error> {
    let wrong = || Error::Name(name.to_owned());
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(rcgen::SanType::IpAddress(address));
    }
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(wrong());
    }
    name.try_into().map(rcgen::SanType::DnsName).map_err(|_| wrong())
}

/// The names of a `SubjectAlternativeName` that are DNS names or addresses; others are left out.
pub(super) fn names(of: &[GeneralName<'_>]) -> Vec<String> {
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|b| IpAddr::from(b).to_string()),
            _ => None,
        },
        _ => None,
    };
    of.iter().filter_map(name).collect()
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// A request (PKCS#10) that is signed by its own P-256 key. Whoever signs it decides what to grant.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    der: Vec<u8>,
    public: Vec<u8>,
    /// What it calls itself; "" when it does not.
    pub common_name: String,
    /// DNS names and addresses that it asks for.
    pub names: Vec<String>,
}

impl Request {
    /// From PEM.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let what = "a certificate request";
        match pem_blocks(what, &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"], text)?.as_slice() {
            [der] => Self::from_der(der),
            more => Err(Error::Pem { what, why: format!("it has {} of them", more.len()) }),
        }
    }

    /// From DER; checks that it is signed by the key it is for.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let what = "the certificate request";
        let parse = |why: &str| Error::Parse { what, why: why.to_owned() };
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| parse("it is not PKCS#10"))?;
        if !rest.is_empty() {
            return Err(parse("there are bytes after it"));
        }
        let info = &request.certification_request_info;
        let algorithm = &info.subject_pki.algorithm;
        let curve = algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string());
        if algorithm.algorithm.to_id_string() != EC || curve.as_deref() != Some(P256) {
            return Err(parse("its key must be ECDSA P-256"));
        }
        request.verify_signature().map_err(|_| Error::Unsigned)?;
        let extensions: Vec<_> = request.requested_extensions().into_iter().flatten().collect();
        let asked = extensions.iter().find_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(all) => Some(names(&all.general_names)),
            _ => None,
        });
        let common_name = info.subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Self {
            public: info.subject_pki.subject_public_key.data.to_vec(),
            common_name: common_name.unwrap_or_default().to_owned(),
            names: asked.unwrap_or_default(),
            der: der.to_vec(),
        })
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        pem_text("CERTIFICATE REQUEST", &self.der)
    }

    /// As DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

impl PublicKeyData for Request {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({:?}, {:?})", self.common_name, self.names)
    }
}
