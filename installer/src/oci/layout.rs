//! An OCI image layout in a folder (image layout specification 1.0), read as if somebody hostile had written it: only regular
//! files, none through a link, none beyond its limit.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use config::image::Digest;
use config::image::pull::Check;
use hyper::body::Bytes;

use super::failure::Failure;
use super::spec::{Descriptor, INDEX, LARGEST, NAME_ANNOTATION};

/// One read.
const CHUNK: usize = 64 * 1024;
/// The index of a layout that many images were copied into.
const ROOT: u64 = 4 * LARGEST;

/// A layout.
pub(super) struct Layout {
    folder: PathBuf,
}

/// `index.json` of a layout, which has no media type where other tools wrote it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Root {
    schema_version: u32,
    pub(super) manifests: Vec<Descriptor>,
}

impl Layout {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// How it is called in messages.
    pub(super) fn name(&self) -> String {
        self.folder.display().to_string()
    }

    /// What it holds by name.
    pub(super) fn root(&self) -> Result<Root, Failure> {
        let path = self.folder.join("index.json");
        let wrong =
            |why: String| Failure::new(Check::Format, format!("{} is no OCI layout: {why}", self.folder.display()));
        let bytes = small(open(&path)?, &path, ROOT)?;
        let root: Root = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("index.json: {error}")))?;
        if root.schema_version == 2 { Ok(root) } else { Err(wrong("its schema version is not 2".to_owned())) }
    }

    /// The digest of what is wanted: by its tag; without one the only index there is.
    pub(super) fn find(&self, tag: Option<&str>) -> Result<Digest, Failure> {
        let root = self.root()?;
        let named = |one: &&Descriptor, tag: &str| one.annotations.get(NAME_ANNOTATION).is_some_and(|name| name == tag);
        let found: Vec<&Descriptor> = match tag {
            Some(tag) => root.manifests.iter().filter(|one| named(one, tag)).collect(),
            None => root.manifests.iter().filter(|one| one.media_type == INDEX).collect(),
        };
        match (found.as_slice(), tag) {
            ([one], _) => Ok(one.digest.clone()),
            ([], Some(tag)) => Err(Failure::new(Check::Missing, format!("the layout has nothing with the tag {tag}"))),
            ([], None) => Err(Failure::new(Check::Missing, "the layout has no image index")),
            (_, Some(tag)) => Err(Failure::new(Check::Missing, format!("the layout has the tag {tag} more than once"))),
            (_, None) => Err(Failure::new(Check::Missing, "the layout has several images: name one by tag or digest")),
        }
    }

    /// A manifest or an index by its digest.
    pub(super) fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, Failure> {
        let path = self.path(digest);
        small(open(&path)?, &path, LARGEST)
    }

    /// A blob from this byte on.
    pub(super) fn blob(&self, digest: &Digest, from: u64) -> Result<Content, Failure> {
        let path = self.path(digest);
        let mut file = open(&path)?;
        file.seek(SeekFrom::Start(from)).map_err(|error| failed(&path, &error))?;
        Ok(Content { file, path })
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }
}

/// A blob that is being read.
pub(super) struct Content {
    file: File,
    path: PathBuf,
}

impl Content {
    /// The next chunk; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut chunk = vec![0; CHUNK];
        let read = self.file.read(&mut chunk).map_err(|error| failed(&self.path, &error))?;
        chunk.truncate(read);
        Ok((read > 0).then(|| Bytes::from(chunk)))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    let check = if error.kind() == std::io::ErrorKind::NotFound { Check::Missing } else { Check::Unreachable };
    Failure::new(check, format!("cannot read {}: {error}", path.display()))
}

/// A regular file; a pipe would keep us waiting, and a link may lead anywhere.
fn open(path: &Path) -> Result<File, Failure> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let file = options.open(path).map_err(|error| failed(path, &error))?;
    let regular = file.metadata().is_ok_and(|found| found.is_file());
    let no_file = || Failure::new(Check::Format, format!("{} is not a regular file", path.display()));
    if regular { Ok(file) } else { Err(no_file()) }
}

fn small(file: File, path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
    if bytes.len() as u64 > most {
        return Err(Failure::new(Check::Format, format!("{} has more than {most} bytes", path.display())));
    }
    Ok(bytes)
}
