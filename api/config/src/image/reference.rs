//! Names of images: `registry.example/stele/installer:1.2.0`, by a digest with `@sha256:…`, or `oci:/path` of an OCI layout in
//! a folder. Nothing is assumed: a registry is always named.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// SHA-256 of something, as OCI writes it: `sha256:` and 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Of these 64 lower-case hex digits.
    pub fn of_hex(hex: &str) -> Option<Self> {
        let right = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (hex.len() == 64 && hex.bytes().all(right)).then(|| Self(hex.to_owned()))
    }

    /// Of the hash itself.
    pub fn of_bytes(bytes: &[u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The 64 hex digits.
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// The tag under which cosign keeps signatures of it.
    pub fn signature_tag(&self) -> String {
        format!("sha256-{}.sig", self.0)
    }
}

impl FromStr for Digest {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("sha256:").and_then(Self::of_hex).ok_or("expected sha256: and 64 lower-case hex digits")
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where an image is and which one of those there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// In a registry or a folder.
    pub place: Place,
    /// What it is called there. When the digest is given, too, it is only for people.
    pub tag: Option<String>,
    /// The digest of the index: then it is this one and no other.
    pub digest: Option<Digest>,
}

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a registry.
    Registry {
        /// `host` or `host:port`.
        host: String,
        /// Path in the registry: `stele/installer`.
        repository: String,
    },
    /// In an OCI layout on a disk.
    Layout {
        /// The folder.
        path: String,
    },
}

impl Reference {
    /// What is asked of a registry: the digest, else the tag, else `latest`.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl FromStr for Reference {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|why| format!("{why} after @"))?)),
            None => (text, None),
        };
        if let Some(rest) = rest.strip_prefix("oci:") {
            let (path, tag) = split_tag(rest);
            let right = path.starts_with('/') && !path.bytes().any(|byte| byte.is_ascii_control());
            let place = Place::Layout { path: path.to_owned() };
            return if right { with_tag(place, tag, digest) } else { Err("expected oci:/absolute/path".to_owned()) };
        }
        let (host, rest) = rest.split_once('/').ok_or(EXPECTED)?;
        let (repository, tag) = split_tag(rest);
        if !is_host(host) {
            return Err(format!("{host} is no registry: {EXPECTED}"));
        }
        if repository.len() > 255 || !repository.split('/').all(is_component) {
            return Err(format!("{repository} is no repository: expected words of a-z, 0-9, `.`, `_` and `-`"));
        }
        with_tag(Place::Registry { host: host.to_owned(), repository: repository.to_owned() }, tag, digest)
    }
}

const EXPECTED: &str = "expected HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST], with a registry that has a dot or a port, or \
                        oci:/PATH[:TAG]";

fn with_tag(place: Place, tag: Option<&str>, digest: Option<Digest>) -> Result<Reference, String> {
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(format!("{tag} is no tag: expected at most 128 of A-Z, a-z, 0-9, `.`, `_` and `-`"));
    }
    Ok(Reference { place, tag: tag.map(str::to_owned), digest })
}

/// A colon after the last slash starts the tag.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (text, None),
    }
}

/// As the distribution specification says.
fn is_tag(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.bytes().all(inner)
}

fn is_component(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| edge(&byte) || matches!(byte, b'.' | b'_' | b'-');
    text.as_bytes().first().is_some_and(edge) && text.as_bytes().last().is_some_and(edge) && text.bytes().all(inner)
}

/// A name with a dot, `localhost`, an address, `[address]`, each with a port or without; any name with a port.
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return address.parse::<std::net::Ipv6Addr>().is_ok(),
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("[]", port.strip_prefix(':')),
        Some(_) => return false,
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let label = |label: &str| {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(right) && !label.starts_with('-') && !label.ends_with('-')
    };
    let named = name == "[]" || (name.len() <= 253 && name.split('.').all(label));
    match port {
        Some(port) => {
            named && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => named && text != "[]" && (name.contains('.') || name == "localhost"),
    }
}

impl TryFrom<String> for Reference {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Registry { host, repository } => write!(f, "{host}/{repository}")?,
            Place::Layout { path } => write!(f, "oci:{path}")?,
        }
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}
