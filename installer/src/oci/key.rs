//! Public keys that sign images: ECDSA P-256, as PEM text.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use config::image::pull::Key;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

/// What stands before the point of a P-256 key in DER (RFC 5480): algorithm, curve, and the head of a bit string of 65 bytes.
const HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A public key and how it is called.
pub(super) struct Public {
    pub(super) name: String,
    point: Vec<u8>,
}

impl Public {
    /// Reads one; none when it is not ECDSA P-256.
    pub(super) fn parse(key: &Key) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(key.pem.as_bytes()).ok()?;
        let point = der.as_ref().strip_prefix(&HEAD)?;
        // not compressed
        (point.len() == 65 && point.first() == Some(&4)).then(|| Self { name: key.name.clone(), point: point.to_vec() })
    }

    /// Whether this key signed that.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature).is_ok()
    }
}

/// Whether a text is a public key that can sign images.
#[cfg(feature = "imager")]
pub(crate) fn is_key(text: &str) -> bool {
    Public::parse(&Key { name: String::new(), pem: text.to_owned() }).is_some()
}

/// A public key as PEM text, of its point.
#[cfg(feature = "imager")]
pub(crate) fn pem(point: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode([&HEAD, point].concat());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
