//! Somewhere an image may come from: a registry, a mirror of it, or a layout on a disk; all the same to those who read.

use std::path::Path;
use std::time::Duration;

use config::image::pull::{Check, Endpoint};
use config::image::{Digest, Place, Reference};
use hyper::body::Bytes;
use sha2::{Digest as _, Sha256};

use super::client::Body;
use super::failure::Failure;
use super::layout::{Content, Layout};
use super::registry::Registry;

/// Somewhere an image may come from. Nothing that it gives is to be believed.
pub(super) enum Source {
    /// Over the network.
    Registry(Box<Registry>),
    /// On a disk.
    Layout(Layout),
}

/// A blob that is being read.
pub(super) enum Blob {
    Body(Body),
    Content(Content),
}

impl Blob {
    /// The next chunk; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Body(body) => body.next().await,
            Self::Content(content) => content.next(),
        }
    }
}

/// All the places where an image may be, in the order to ask them.
pub(super) fn all(image: &Reference, endpoints: &[Endpoint], stall: Duration) -> Result<Vec<Source>, Failure> {
    match &image.place {
        Place::Layout { path } => Ok(vec![Source::Layout(Layout::new(Path::new(path)))]),
        Place::Registry { host, repository } => {
            let own = [Endpoint { url: format!("https://{host}"), ca: Vec::new(), auth: None, proxy: None }];
            let endpoints = if endpoints.is_empty() { &own } else { endpoints };
            let registry = |one| Ok(Source::Registry(Box::new(Registry::new(one, repository, stall)?)));
            endpoints.iter().map(registry).collect()
        }
    }
}

impl Source {
    /// How it is called in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Registry(registry) => registry.name(),
            Self::Layout(layout) => layout.name(),
        }
    }

    /// What the reference names: its bytes and their digest, which is the one of the reference when it has one.
    pub(super) async fn root(&mut self, image: &Reference) -> Result<(Digest, Vec<u8>), Failure> {
        if let Some(digest) = &image.digest {
            return Ok((digest.clone(), self.manifest(digest).await?));
        }
        match self {
            Self::Registry(registry) => {
                let bytes = registry.manifest(&image.wanted()).await?;
                Ok((digest(&bytes), bytes))
            }
            Self::Layout(layout) => {
                let digest = layout.find(image.tag.as_deref())?;
                Ok((digest.clone(), self.manifest(&digest).await?))
            }
        }
    }

    /// A manifest or an index that has this digest.
    pub(super) async fn manifest(&mut self, wanted: &Digest) -> Result<Vec<u8>, Failure> {
        let bytes = match self {
            Self::Registry(registry) => registry.manifest(&wanted.to_string()).await?,
            Self::Layout(layout) => layout.manifest(wanted)?,
        };
        checked(bytes, wanted)
    }

    /// What a tag names, unchecked.
    pub(super) async fn tagged(&mut self, tag: &str) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Registry(registry) => registry.manifest(tag).await,
            Self::Layout(layout) => {
                let digest = layout.find(Some(tag))?;
                layout.manifest(&digest)
            }
        }
    }

    /// A blob from this byte on; says from where it really comes.
    pub(super) async fn blob(&mut self, digest: &Digest, from: u64) -> Result<(u64, Blob), Failure> {
        match self {
            Self::Registry(registry) => {
                let (from, body) = registry.blob(digest, from).await?;
                Ok((from, Blob::Body(body)))
            }
            Self::Layout(layout) => Ok((from, Blob::Content(layout.blob(digest, from)?))),
        }
    }

    /// A small blob as a whole, which has this digest.
    pub(super) async fn small(&mut self, wanted: &Digest, most: u64) -> Result<Vec<u8>, Failure> {
        let (_, mut blob) = self.blob(wanted, 0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.next().await? {
            if (bytes.len() + chunk.len()) as u64 > most {
                return Err(Failure::new(Check::Digest, format!("{wanted} has more than {most} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        checked(bytes, wanted)
    }
}

/// The digest of bytes.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    of_hash(Sha256::new_with_prefix(bytes))
}

/// The digest that a hash has come to.
pub(super) fn of_hash(hash: Sha256) -> Digest {
    Digest::of_bytes(&hash.finalize().into())
}

fn checked(bytes: Vec<u8>, wanted: &Digest) -> Result<Vec<u8>, Failure> {
    if digest(&bytes) == *wanted {
        Ok(bytes)
    } else {
        Err(Failure::new(Check::Digest, format!("what is served as {wanted} are other bytes")))
    }
}
