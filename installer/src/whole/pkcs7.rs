//! The signature in a program: PKCS #7 SignedData (RFC 2315) around Authenticode's SpcIndirectDataContent.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::der::{Der, Element, INTEGER, OCTETS, OID, SEQUENCE, SET, TAGGED_0};

/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.9.4
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// 1.3.6.1.4.1.311.2.1.4, SPC_INDIRECT_DATA
const INDIRECT_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];
/// 2.16.840.1.101.3.4.2.1
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// The digest that was signed, when a certificate inside has the key that signed it (RSA, SHA-256).
pub(super) fn digest(bytes: &[u8]) -> Result<&[u8], &'static str> {
    let parsed = parse(bytes).ok_or("it is not well-formed")?;
    if parsed.message_digest != Sha256::digest(parsed.content).as_slice() {
        return Err("its parts do not belong together");
    }
    // stored, the attributes have the tag [0]; signed, that of a set
    let mut attributes = parsed.attributes.to_vec();
    if let Some(tag) = attributes.first_mut() {
        *tag = SET;
    }
    let mut certificates = parsed.certificates;
    while let Some(certificate) = certificates.next() {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate.whole) else { continue };
        let key = certificate.public_key().subject_public_key.data.as_ref();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
        if key.verify(&attributes, parsed.signature).is_ok() {
            return Ok(parsed.digest);
        }
    }
    Err("no certificate in it has the key that signed it")
}

/// What counts in it.
struct Parsed<'a> {
    /// Of the program.
    digest: &'a [u8],
    /// What the message digest is of.
    content: &'a [u8],
    certificates: Der<'a>,
    attributes: &'a [u8],
    message_digest: &'a [u8],
    signature: &'a [u8],
}

fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
    let mut info = Der(bytes).expect(SEQUENCE)?.inside();
    is_oid(info.expect(OID)?, SIGNED_DATA)?;
    let mut signed = info.expect(TAGGED_0)?.inside().expect(SEQUENCE)?.inside();
    signed.expect(INTEGER)?;
    signed.expect(SET)?;
    let mut content_info = signed.expect(SEQUENCE)?.inside();
    is_oid(content_info.expect(OID)?, INDIRECT_DATA)?;
    let content = content_info.expect(TAGGED_0)?.inside().expect(SEQUENCE)?;
    let certificates = signed.expect(TAGGED_0)?.inside();
    let mut signers = signed.expect(SET)?.inside();
    let mut signer = signers.expect(SEQUENCE)?.inside();
    signer.expect(INTEGER)?;
    signer.expect(SEQUENCE)?;
    is_sha256(signer.expect(SEQUENCE)?)?;
    let attributes = signer.expect(TAGGED_0)?;
    signer.expect(SEQUENCE)?;
    let signature = signer.expect(OCTETS)?.content;
    let mut message_digest = None;
    let mut each = attributes.inside();
    while let Some(attribute) = each.next() {
        let mut attribute = attribute.inside();
        if attribute.expect(OID)?.content == MESSAGE_DIGEST {
            message_digest = Some(attribute.expect(SET)?.inside().expect(OCTETS)?.content);
        }
    }
    let mut indirect = content.inside();
    indirect.expect(SEQUENCE)?;
    let mut digest_info = indirect.expect(SEQUENCE)?.inside();
    is_sha256(digest_info.expect(SEQUENCE)?)?;
    let digest = digest_info.expect(OCTETS)?.content;
    Some(Parsed {
        digest,
        content: content.content,
        certificates,
        attributes: attributes.whole,
        message_digest: message_digest?,
        signature,
    })
}

fn is_oid(element: Element<'_>, wanted: &[u8]) -> Option<()> {
    (element.content == wanted).then_some(())
}

/// An AlgorithmIdentifier.
fn is_sha256(algorithm: Element<'_>) -> Option<()> {
    is_oid(algorithm.inside().expect(OID)?, SHA256)
}
