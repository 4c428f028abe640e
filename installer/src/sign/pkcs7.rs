//! The signature as firmware wants it: PKCS #7 SignedData (RFC 2315) around Authenticode's SpcIndirectDataContent, in DER.

use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use sha2::{Digest, Sha256};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

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

/// Who signs.
pub(super) struct Signer<'a> {
    /// The certificate, DER.
    pub(super) cert: &'a [u8],
    /// Its issuer and serial number, as they lie in it.
    pub(super) issuer: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) pair: &'a RsaKeyPair,
}

impl Signer<'_> {
    /// PKCS #7 SignedData (RFC 2315) over the digest of the program.
    pub(super) fn signed_data(&self, digest: &[u8]) -> Option<Vec<u8>> {
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
