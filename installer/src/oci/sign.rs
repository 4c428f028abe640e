//! Signing as cosign does with a key: the payload and its signature become a layer of the manifest under the tag
//! `sha256-<digest>.sig`; nothing is written to a transparency log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::image::Digest;
use config::image::pull::Key;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::build::{Blobs, Error as Write, json, named, root};
use super::failure::Failure;
use super::key::{self, Public};
use super::layout::Layout;
use super::spec::{Descriptor, IMAGE_CONFIG, MANIFEST, Manifest, NAME_ANNOTATION, SIGNATURE, SIGNATURE_ANNOTATION};
use super::{payload, source};

/// Signing failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key.
    #[error(
        "{path} is not an ECDSA P-256 private key in PEM (PKCS #8); with a key that cosign made, sign by `cosign sign --key` in the \
         registry"
    )]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The key did not sign.
    #[error("the key cannot sign")]
    Sign,
    /// The layout or registry.
    #[error(transparent)]
    Image(#[from] Failure),
    /// The layout.
    #[error(transparent)]
    Write(#[from] Write),
}

/// Signs.
pub struct Signer {
    pair: EcdsaKeyPair,
}

/// A signature as a manifest with its blobs.
pub struct Signed {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// Configuration and payload, as far as they are new.
    pub blobs: Vec<Vec<u8>>,
}

impl Signer {
    /// With the key in this file.
    ///
    /// # Errors
    /// When it is not such a key.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let wrong = || Error::Key { path: path.to_owned() };
        let Ok(PrivateKeyDer::Pkcs8(der)) = PrivateKeyDer::from_pem_file(path) else { return Err(wrong()) };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der());
        Ok(Self { pair: pair.map_err(|_| wrong())? })
    }

    /// The public half, as PEM text.
    #[must_use]
    pub fn public(&self) -> String {
        key::pem(self.pair.public_key().as_ref())
    }

    /// The manifest of signatures of a digest with ours among them: `known` is what is there, whose signatures stay. `payloads`
    /// gives the content of its layers.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn sign(
        &self,
        digest: &Digest,
        reference: &str,
        known: Option<&[u8]>,
        payload_of: impl Fn(&Descriptor) -> Option<Vec<u8>>,
    ) -> Result<Option<Signed>, Error> {
        let known = known.and_then(|bytes| Manifest::parse(bytes).ok());
        let mut layers = known.map(|manifest| manifest.layers).unwrap_or_default();
        if layers.iter().any(|layer| self.is_ours(layer, digest, &payload_of)) {
            return Ok(None);
        }
        let text = payload::text(digest, reference);
        let signature = self.pair.sign(&SystemRandom::new(), &text).map_err(|_| Error::Sign)?;
        let mut layer = descriptor(SIGNATURE, &text);
        layer.annotations.insert(SIGNATURE_ANNOTATION.to_owned(), STANDARD.encode(signature.as_ref()));
        layers.push(layer);
        let config = config(&layers);
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: None,
            config: descriptor(IMAGE_CONFIG, &config),
            layers,
            annotations: BTreeMap::new(),
        };
        Ok(Some(Signed { manifest: json(&manifest), blobs: vec![config, text] }))
    }

    fn is_ours(
        &self,
        layer: &Descriptor,
        digest: &Digest,
        payload_of: impl Fn(&Descriptor) -> Option<Vec<u8>>,
    ) -> bool {
        let signature = layer.annotations.get(SIGNATURE_ANNOTATION).and_then(|text| STANDARD.decode(text).ok());
        let public = Public::parse(&Key { name: String::new(), pem: self.public() });
        match (signature, public, payload_of(layer)) {
            (Some(signature), Some(public), Some(text)) => {
                public.signed(&text, &signature) && payload::digest(&text).as_ref() == Some(digest)
            }
            _ => false,
        }
    }
}

/// What cosign writes as the configuration: of an image for no platform, with the payloads as its layers.
fn config(layers: &[Descriptor]) -> Vec<u8> {
    let layers: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
    json(&serde_json::json!({
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "history": layers.iter().map(|_| serde_json::json!({ "created": "0001-01-01T00:00:00Z" })).collect::<Vec<_>>(),
        "os": "",
        "rootfs": { "type": "layers", "diff_ids": layers },
        "config": {},
    }))
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: source::digest(bytes),
        size: bytes.len() as u64,
        artifact_type: None,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

/// Signs the image of a layout; returns its digest, and whether it was not signed with this key before.
///
/// # Errors
/// When the layout cannot be read or written.
pub fn layout(folder: &Path, tag: Option<&str>, signer: &Signer, name: &str) -> Result<(Digest, bool), Error> {
    let layout = Layout::new(folder);
    let digest = layout.find(tag)?;
    let tag = digest.signature_tag();
    let known = layout.find(Some(&tag)).ok().and_then(|known| layout.manifest(&known).ok());
    let payload_of = |layer: &Descriptor| std::fs::read(layout.path(&layer.digest)).ok();
    let Some(signed) = signer.sign(&digest, name, known.as_deref(), payload_of)? else { return Ok((digest, false)) };
    let blobs = Blobs::new(folder)?;
    for blob in &signed.blobs {
        blobs.put("", blob)?;
    }
    let descriptor = named(blobs.put(MANIFEST, &signed.manifest)?, &tag);
    let mut all = layout.root()?.manifests;
    all.retain(|one| one.annotations.get(NAME_ANNOTATION) != Some(&tag));
    all.push(descriptor);
    root(folder, all)?;
    Ok((digest, true))
}
