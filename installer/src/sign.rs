//! Signing the UKI for Secure Boot (Microsoft's Authenticode, as firmware checks it; UEFI 2.10, section 32.2).
//!
//! RSA with PKCS #1 padding and no signing time: the same program and key always give the same bytes, which the usual tools
//! do not. What is signed is checked with `sbverify` in the tests.

use std::path::PathBuf;

use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

use crate::uki;

/// A key with its certificate, both PEM files.
#[derive(Clone, Debug)]
pub struct Key {
    /// Private key.
    pub key: PathBuf,
    /// Certificate.
    pub cert: PathBuf,
}

/// Signing failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key or certificate file.
    #[error("{path} is not a PEM file with {what}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// Not RSA.
    #[error("{path} is not an RSA key of 2048 bits or more, the one kind that every firmware's Secure Boot takes")]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// Not a certificate, or of another key.
    #[error("{path} is not the certificate of that key")]
    Cert {
        /// The file.
        path: PathBuf,
    },
    /// Not an EFI program.
    #[error(transparent)]
    Program(#[from] uki::Error),
}

/// The signed program.
///
/// # Errors
/// When the key or certificate cannot be used or the program is not one.
pub fn sign(pe: &[u8], key: &Key) -> Result<Vec<u8>, Error> {
    let pair = load_key(key)?;
    let pem = |cause| Error::Pem { path: key.cert.clone(), what: "a certificate", cause };
    let cert = CertificateDer::from_pem_file(&key.cert).map_err(pem)?;
    let wrong = || Error::Cert { path: key.cert.clone() };
    let (_, parsed) = x509_parser::parse_x509_certificate(&cert).map_err(|_| wrong())?;
    if parsed.public_key().subject_public_key.data.as_ref() != aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref()
    {
        return Err(wrong());
    }
    let signer = Signer { cert: &cert, issuer: parsed.issuer().as_raw(), serial: parsed.raw_serial(), pair: &pair };
    let digest = Sha256::digest(uki::signed_part(pe)?.concat());
    let signature = signer.signed_data(&digest).ok_or(Error::Key { path: key.key.clone() })?;
    Ok(uki::attach(pe, &signature)?)
}

fn load_key(key: &Key) -> Result<RsaKeyPair, Error> {
    let pem = |cause| Error::Pem { path: key.key.clone(), what: "a private key", cause };
    let found = match PrivateKeyDer::from_pem_file(&key.key).map_err(pem)? {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
        _ => None,
    };
    found.ok_or_else(|| Error::Key { path: key.key.clone() })
}

const SIGNED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 2];
const CONTENT_TYPE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 3];
const MESSAGE_DIGEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 4];
const RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
/// SPC_INDIRECT_DATA
const INDIRECT_DATA: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 2, 1, 4];
/// SPC_PE_IMAGE_DATA
const PE_IMAGE: &[u64] = &[1, 3, 6, 1, 4, 1, 311, 2, 1, 15];

fn oid(writer: DERWriter<'_>, arcs: &[u64]) {
    writer.write_oid(&ObjectIdentifier::from_slice(arcs));
}

fn algorithm(writer: DERWriter<'_>, arcs: &[u64]) {
    writer.write_sequence(|writer| {
        oid(writer.next(), arcs);
        writer.next().write_null();
    });
}

struct Signer<'a> {
    cert: &'a [u8],
    issuer: &'a [u8],
    serial: &'a [u8],
    pair: &'a RsaKeyPair,
}

impl Signer<'_> {
    /// PKCS #7 SignedData (RFC 2315) over the digest of the program.
    fn signed_data(&self, digest: &[u8]) -> Option<Vec<u8>> {
        let fields = indirect_data(digest);
        // the message digest is over the content without its outer tag and length
        let content = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| fields.iter().for_each(|field| writer.next().write_der(field)));
        });
        let attributes = attributes(&Sha256::digest(fields.concat()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, &attributes, &mut signature).ok()?;
        Some(yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                oid(writer.next(), SIGNED_DATA);
                writer.next().write_tagged(Tag::context(0), |writer| {
                    writer.write_sequence(|writer| {
                        writer.next().write_u8(1);
                        writer.next().write_set(|writer| algorithm(writer.next(), SHA256));
                        writer.next().write_sequence(|writer| {
                            oid(writer.next(), INDIRECT_DATA);
                            writer.next().write_tagged(Tag::context(0), |writer| writer.write_der(&content));
                        });
                        writer.next().write_tagged_implicit(Tag::context(0), |writer| {
                            writer.write_set(|writer| writer.next().write_der(self.cert));
                        });
                        writer.next().write_set(|writer| self.signer_info(writer.next(), &attributes, &signature));
                    });
                });
            });
        }))
    }

    fn signer_info(&self, writer: DERWriter<'_>, attributes: &[u8], signature: &[u8]) {
        // stored, the attributes have the tag [0]; signed, that of a set
        let mut tagged = attributes.to_vec();
        tagged[0] = 0xa0;
        writer.write_sequence(|writer| {
            writer.next().write_u8(1);
            writer.next().write_sequence(|writer| {
                writer.next().write_der(self.issuer);
                writer.next().write_bigint_bytes(self.serial, true);
            });
            algorithm(writer.next(), SHA256);
            writer.next().write_der(&tagged);
            algorithm(writer.next(), RSA);
            writer.next().write_bytes(signature);
        });
    }
}

/// The two fields of SpcIndirectDataContent: what it is about, and its digest.
fn indirect_data(digest: &[u8]) -> [Vec<u8>; 2] {
    let about = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            oid(writer.next(), PE_IMAGE);
            writer.next().write_sequence(|writer| {
                writer.next().write_bitvec_bytes(&[], 0);
                // a file name that nobody reads; every signing tool writes this one
                let name: Vec<u8> = "<<<Obsolete>>>".encode_utf16().flat_map(u16::to_be_bytes).collect();
                writer.next().write_tagged(Tag::context(0), |writer| {
                    writer.write_tagged(Tag::context(2), |writer| {
                        writer.write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(&name));
                    });
                });
            });
        });
    });
    let digest = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            algorithm(writer.next(), SHA256);
            writer.next().write_bytes(digest);
        });
    });
    [about, digest]
}

/// The signed attributes as a set.
fn attributes(message_digest: &[u8]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_set_of(|writer| {
            writer.next().write_sequence(|writer| {
                oid(writer.next(), CONTENT_TYPE);
                writer.next().write_set(|writer| oid(writer.next(), INDIRECT_DATA));
            });
            writer.next().write_sequence(|writer| {
                oid(writer.next(), MESSAGE_DIGEST);
                writer.next().write_set(|writer| writer.next().write_bytes(message_digest));
            });
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host, keys};

    #[test]
    fn a_stock_tool_accepts_the_signature() {
        let work = tempfile::tempdir().unwrap();
        let key = keys::make(work.path(), "test").unwrap();
        let pe = uki::assemble(&uki::tests::stub(), &[(uki::OSREL, b"ID=stele\n")]).unwrap();
        let signed = sign(&pe, &key).unwrap();
        assert!(signed == sign(&pe, &key).unwrap());
        let file = work.path().join("signed.efi");
        std::fs::write(&file, &signed).unwrap();
        let verify = |file: &std::path::Path| {
            host::program("sbverify", "sbsigntool")
                .args(["--cert".as_ref(), key.cert.as_os_str(), file.as_os_str()])
                .run()
        };
        verify(&file).unwrap();
        let mut broken = signed;
        broken[1300] ^= 1;
        std::fs::write(&file, &broken).unwrap();
        assert!(verify(&file).is_err());
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let work = tempfile::tempdir().unwrap();
        let (one, other) = (keys::make(work.path(), "one").unwrap(), keys::make(work.path(), "other").unwrap());
        let mixed = Key { key: one.key, cert: other.cert };
        assert!(matches!(sign(&uki::tests::stub(), &mixed), Err(Error::Cert { .. })));
    }
}
