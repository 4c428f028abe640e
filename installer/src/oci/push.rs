//! Images into a registry (OCI distribution specification 1.1, "push"): blobs first, then what names them, the tag last.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use config::image::pull::{Check, Endpoint};
use config::image::{Digest, Place, Reference};
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::client::{Answer, Sent, nothing};
use super::endpoint::Address;
use super::failure::Failure;
use super::layout::Layout;
use super::registry::Registry;
use super::sign::{self, Signer};
use super::source;
use super::spec::{Descriptor, INDEX, Index, LARGEST, MANIFEST, Manifest, NAME_ANNOTATION};

/// One read.
const CHUNK: usize = 64 * 1024;
/// A registry that writes a large blob to a slow disk says nothing for long.
const STALL: Duration = Duration::from_secs(300);

/// A repository to write to.
pub struct Target {
    registry: Registry,
    /// Blobs that were not there.
    pub pushed: u64,
    /// Blobs that were.
    pub there: u64,
}

impl Target {
    /// The repository that a reference names, at this endpoint.
    ///
    /// # Errors
    /// When it names none.
    pub fn new(image: &Reference, endpoint: &Endpoint) -> Result<Self, Failure> {
        let Place::Registry { repository, .. } = &image.place else {
            return Err(Failure::new(Check::Request, format!("{image} is in no registry")));
        };
        Ok(Self { registry: Registry::new(endpoint, repository, STALL)?, pushed: 0, there: 0 })
    }

    /// The tag of a layout's image.
    ///
    /// # Errors
    /// When it has none.
    pub fn tag(folder: &Path, from: Option<&str>) -> Result<String, Failure> {
        let layout = Layout::new(folder);
        let digest = layout.find(from)?;
        let root = layout.root()?;
        let tag =
            root.manifests.iter().find(|one| one.digest == digest).and_then(|one| one.annotations.get(NAME_ANNOTATION));
        tag.cloned().ok_or_else(|| Failure::new(Check::Missing, "the image in the layout has no tag: name one"))
    }

    /// Pushes the image of a layout with its signatures, under this tag; returns the digest of its index.
    ///
    /// # Errors
    /// When the layout is not whole or the registry refuses.
    pub async fn layout(&mut self, folder: &Path, from: Option<&str>, tag: &str) -> Result<Digest, Failure> {
        let layout = Layout::new(folder);
        let digest = layout.find(from)?;
        let bytes = read(&layout, &digest)?;
        let index = Index::parse(&bytes).map_err(|why| wrong(&digest, &why.to_string()))?;
        for descriptor in &index.manifests {
            self.manifest(&layout, &descriptor.digest, &descriptor.digest.to_string()).await?;
        }
        // the signature before the tag: who follows the tag finds a signed image
        let signatures = digest.signature_tag();
        if let Ok(signed) = layout.find(Some(&signatures)) {
            self.manifest(&layout, &signed, &signatures).await?;
        }
        self.put_manifest(INDEX, bytes, tag).await?;
        Ok(digest)
    }

    async fn manifest(&mut self, layout: &Layout, digest: &Digest, name: &str) -> Result<(), Failure> {
        let bytes = read(layout, digest)?;
        let manifest = Manifest::parse(&bytes).map_err(|why| wrong(digest, &why.to_string()))?;
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            self.blob(blob, &Content::File(layout.path(&blob.digest))).await?;
        }
        self.put_manifest(MANIFEST, bytes, name).await
    }

    /// Signs what is in the registry; returns its digest, and whether it was not signed with this key before.
    ///
    /// # Errors
    /// When it is not there, or the registry refuses.
    pub async fn sign(&mut self, image: &Reference, signer: &Signer) -> Result<(Digest, bool), sign::Error> {
        let bytes = self.registry.manifest(&image.wanted()).await?;
        let digest = source::digest(&bytes);
        if image.digest.as_ref().is_some_and(|wanted| *wanted != digest) {
            return Err(wrong(&digest, "it was asked for by another digest").into());
        }
        Index::parse(&bytes).map_err(|why| wrong(&digest, &why.to_string()))?;
        let tag = digest.signature_tag();
        let known = match self.registry.manifest(&tag).await {
            Ok(known) => Some(known),
            Err(why) if why.check == Check::Missing => None,
            Err(why) => return Err(why.into()),
        };
        let mut payloads = std::collections::BTreeMap::new();
        for layer in
            known.as_deref().and_then(|known| Manifest::parse(known).ok()).into_iter().flat_map(|all| all.layers)
        {
            let (_, mut body) = self.registry.blob(&layer.digest, 0).await?;
            payloads.insert(layer.digest, body.whole(LARGEST).await?);
        }
        let payload_of = |layer: &Descriptor| payloads.get(&layer.digest).cloned();
        let name = Reference { tag: None, digest: None, ..image.clone() }.to_string();
        let Some(signed) = signer.sign(&digest, &name, known.as_deref(), payload_of)? else {
            return Ok((digest, false));
        };
        let manifest = Manifest::parse(&signed.manifest).map_err(|why| wrong(&digest, &why.to_string()))?;
        for bytes in signed.blobs {
            let wanted = source::digest(&bytes);
            let mut all = std::iter::once(&manifest.config).chain(&manifest.layers);
            if let Some(blob) = all.find(|blob| blob.digest == wanted) {
                self.blob(blob, &Content::Bytes(Bytes::from(bytes))).await?;
            }
        }
        self.put_manifest(MANIFEST, signed.manifest, &tag).await?;
        Ok((digest, true))
    }

    async fn blob(&mut self, blob: &Descriptor, content: &Content) -> Result<(), Failure> {
        let path = format!("{}/blobs/{}", self.registry.path, blob.digest);
        let client = &mut self.registry.client;
        let url = client.address.url(&path)?;
        if client.ask(&Method::HEAD, &url, &[], nothing).await?.status == StatusCode::OK {
            self.there += 1;
            return Ok(());
        }
        let url = client.address.url(&format!("{}/blobs/uploads/", self.registry.path))?;
        let none = [(header::CONTENT_LENGTH, "0".to_owned())];
        let answer = client.ask(&Method::POST, &url, &none, nothing).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(said(answer, "upload").await);
        }
        let to = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
        let to = Address::of(&url).and_then(|here| here.follow(to));
        let to = to.ok_or_else(|| Failure::new(Check::Unreachable, "the registry does not say where to upload to"))?;
        let mark = if to.query().is_some() { '&' } else { '?' };
        let to = format!("{to}{mark}digest={}", blob.digest).parse();
        let to = to.map_err(|_| Failure::new(Check::Unreachable, "the registry does not say where to upload to"))?;
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_LENGTH, blob.size.to_string()),
        ];
        let answer = client.ask(&Method::PUT, &to, &headers, || content.body(blob.size)).await?;
        if answer.status != StatusCode::CREATED {
            return Err(said(answer, &blob.digest.to_string()).await);
        }
        self.pushed += 1;
        Ok(())
    }

    async fn put_manifest(&mut self, kind: &str, bytes: Vec<u8>, name: &str) -> Result<(), Failure> {
        let client = &mut self.registry.client;
        let url = client.address.url(&format!("{}/manifests/{name}", self.registry.path))?;
        let bytes = Bytes::from(bytes);
        let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_LENGTH, bytes.len().to_string())];
        let body = || Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync();
        let answer = client.ask(&Method::PUT, &url, &headers, body).await?;
        if answer.status == StatusCode::CREATED { Ok(()) } else { Err(said(answer, name).await) }
    }
}

fn wrong(digest: &Digest, why: &str) -> Failure {
    Failure::new(Check::Format, format!("{digest} is no installer image: {why}"))
}

fn read(layout: &Layout, digest: &Digest) -> Result<Vec<u8>, Failure> {
    let bytes = layout.manifest(digest)?;
    let same = source::digest(&bytes) == *digest;
    if same { Ok(bytes) } else { Err(Failure::new(Check::Digest, format!("{digest} in the layout are other bytes"))) }
}

/// A refusal with the registry's own words.
async fn said(mut answer: Answer, what: &str) -> Failure {
    let mut failure = answer.failure(what);
    let words = answer.body.whole(LARGEST).await.unwrap_or_default();
    let words = super::spec::printable(&String::from_utf8_lossy(&words));
    if !words.is_empty() {
        failure.message = format!("{}: {words}", failure.message);
    }
    failure
}

enum Content {
    File(PathBuf),
    Bytes(Bytes),
}

impl Content {
    fn body(&self, size: u64) -> Sent {
        match self {
            Self::File(path) => FileBody { file: File::open(path).map_err(Some), left: size }.boxed_unsync(),
            Self::Bytes(bytes) => Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(),
        }
    }
}

/// A file in pieces.
struct FileBody {
    file: Result<File, Option<io::Error>>,
    left: u64,
}

impl FileBody {
    fn read(&mut self) -> io::Result<Bytes> {
        let file = match &mut self.file {
            Ok(file) => file,
            Err(error) => return Err(error.take().unwrap_or_else(|| io::ErrorKind::NotFound.into())),
        };
        let mut chunk = vec![0; CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK))];
        file.read_exact(&mut chunk)?;
        self.left -= chunk.len() as u64;
        Ok(Bytes::from(chunk))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(self.read().map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
