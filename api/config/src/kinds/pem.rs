//! Certificates and keys in documents: PEM text that must hold what its field says.

use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// The certificates in a text, or what is wrong with it. Expiry is no matter here: what parses today parses tomorrow.
pub(super) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let blocks = pem::parse_many(text).map_err(|_| EXPECTED.to_owned())?;
    if blocks.is_empty() {
        return Err(EXPECTED.into());
    }
    for block in &blocks {
        if block.tag().contains("PRIVATE KEY") {
            return Err("this is a private key: it belongs into the secrets, never into a document".into());
        }
        if block.tag() != "CERTIFICATE" {
            return Err(EXPECTED.into());
        }
        match X509Certificate::from_der(block.contents()) {
            Ok(([], _)) => {}
            _ => return Err("this is no X.509 certificate: it was cut or changed".into()),
        }
    }
    Ok(blocks.into_iter().map(pem::Pem::into_contents).collect())
}

/// The one certificate of an authority, or what is wrong.
pub(super) fn authority(text: &str) -> Result<Vec<u8>, String> {
    let [der] = <[_; 1]>::try_from(certificates(text)?)
        .map_err(|all| format!("expected one certificate, here are {}", all.len()))?;
    if der.len() > LONGEST {
        return Err(format!("this certificate has {} bytes, at most {LONGEST} fit where it must be kept", der.len()));
    }
    let ca = X509Certificate::from_der(&der).is_ok_and(|(_, certificate)| certificate.is_ca());
    if ca {
        Ok(der)
    } else {
        Err("expected the certificate of an authority (CA:TRUE), not of a server or client".into())
    }
}

/// Bytes of an authority's certificate: META keeps one, and the gateway all that are accepted.
const LONGEST: usize = 4096;

const EXPECTED: &str = "expected a certificate as PEM text (-----BEGIN CERTIFICATE-----)";

/// The one public key on the curve P-256 in a text (SubjectPublicKeyInfo), or what is wrong.
pub(super) fn p256(text: &str) -> Result<Vec<u8>, String> {
    let expected = "expected a public key as PEM text (-----BEGIN PUBLIC KEY-----)";
    let blocks = pem::parse_many(text).map_err(|_| expected.to_owned())?;
    let [block] = <[_; 1]>::try_from(blocks).map_err(|_| expected.to_owned())?;
    if block.tag().contains("PRIVATE KEY") {
        return Err("this is a private key: it stays with who signs; its public key goes here".into());
    }
    if block.tag() != "PUBLIC KEY" {
        return Err(expected.into());
    }
    match SubjectPublicKeyInfo::from_der(block.contents()) {
        Ok(([], key)) if is_p256(&key) => Ok(block.into_contents()),
        _ => Err("expected a public key of ECDSA on the curve P-256, as cosign generate-key-pair makes it".into()),
    }
}

fn is_p256(key: &SubjectPublicKeyInfo<'_>) -> bool {
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let point = &*key.subject_public_key.data;
    // A point that is not compressed: 4, then both coordinates.
    key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
        && curve.is_some_and(|curve| curve == OID_EC_P256)
        && point.len() == 65
        && point.first() == Some(&4)
}
