//! `installer pull`: one [`Request`] as JSON on its standard input, one [`Line`] of JSON after the other on its standard
//! output; the last one is [`Line::Pulled`] (exit code 0) or [`Line::Refused`] (exit code 1).
//!
//! ```json
//! {"progress":{"step":"fetch","part":"uki","done":1048576,"total":62914560}}
//! {"warning":{"check":"signature","message":"…"}}
//! {"refused":{"check":"floor","message":"version 0.1.0 is below 0.3.0, …","remedy":"…","again":false}}
//! ```
//!
//! Whoever starts it may end it at any time and start it again with the same folder: it goes on where it was. Request and
//! program are of one image, so that there is nothing older or newer to be read.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Digest, Manifest, Reference};
use crate::Private;

/// What to pull, from where, and what it must be like.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Which image.
    pub image: Reference,
    /// Where to ask, in this order: mirrors, then the registry itself. Empty: the registry that `image` names, over HTTPS.
    /// Not used with an OCI layout.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// What becomes of an image that no key here has signed.
    pub verify: Verify,
    /// Public keys that are trusted.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// What it may take.
    pub limits: Limits,
    /// What the machine is now.
    pub node: Node,
    /// Absolute path of a folder that is there and in which nothing but this is kept: files named by the hex digits of their
    /// digests, `.part` behind that until they are complete. What does not belong to the image is removed.
    pub folder: String,
    /// Bytes that must stay free in the folder's file system when all is there.
    #[serde(default)]
    pub free: u64,
    /// Parts that are at hand, and not fetched again.
    #[serde(default)]
    pub have: Vec<Digest>,
}

/// A registry, or a mirror of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// `https://host[:port]`, with a path when the repositories are below one there. With `http://` everything goes in the
    /// clear, passwords too.
    pub url: String,
    /// Authorities to trust besides the public ones, each one or more certificates as PEM text.
    #[serde(default)]
    pub ca: Vec<String>,
    /// Who asks; absent: anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// The way there; absent: directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

/// How a client shows who it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Auth {
    /// To the registry itself, or to the service that gives its tokens.
    Login(Login),
    /// A token that the registry takes as it is.
    Token(Private),
}

/// User and password.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// User.
    pub user: String,
    /// Password.
    pub password: Private,
}

/// A proxy: CONNECT for HTTPS, whole addresses for HTTP.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// What becomes of an image that no key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verify {
    /// It is refused.
    Require,
    /// It is taken, with a [`Line::Warning`].
    Warn,
}

/// A public key that may sign images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// How it is called in messages: the document's or the file's name.
    pub name: String,
    /// ECDSA P-256, as PEM text (`-----BEGIN PUBLIC KEY-----`).
    pub pem: String,
}

/// What a pull may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Bytes of all parts together.
    pub bytes: u64,
    /// Seconds for everything.
    pub seconds: u64,
    /// Seconds without a byte, after which an endpoint counts as gone for this time.
    #[serde(default = "stall")]
    pub stall: u64,
}

const fn stall() -> u64 {
    30
}

/// What the machine is now, which the image must fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// `amd64`.
    pub architecture: String,
    /// What runs.
    pub version: Version,
    /// The highest floor among the versions that were blessed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Version>,
    /// Go below the floor all the same.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// `apiVersion` of its documents; absent where there are none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Versions of the formats on its disks, as in [`Manifest::formats`]: the image must read each. Empty where there is
    /// nothing yet.
    #[serde(default)]
    pub formats: BTreeMap<String, u32>,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// How far it is: at least one for each step, and every half second.
    Progress(Progress),
    /// Something that is not as it should be, but no reason to refuse.
    Warning(Warning),
    /// The end: all is there and verified.
    Pulled(Box<Pulled>),
    /// The end: not this one.
    Refused(Refusal),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// Which part, in [`Step::Fetch`] and [`Step::Check`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Bytes of all parts that are there.
    pub done: u64,
    /// Bytes of all parts; 0 before that is known.
    pub total: u64,
}

/// What is being done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Looking for the image, its signature, its manifest; checks that need no more than those.
    Resolve,
    /// Fetching parts.
    Fetch,
    /// Looking whether the parts are whole.
    Check,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// Which check.
    pub check: Check,
    /// What is wrong.
    pub message: String,
}

/// Why it was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Which check.
    pub check: Check,
    /// What is wrong; names every endpoint that was asked, never a secret.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Whether the same may go well later, with nothing changed here.
    pub again: bool,
}

/// What was checked. The words are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// The request itself.
    Request,
    /// The folder can be written, and nobody else pulls into it.
    Folder,
    /// An endpoint answers.
    Unreachable,
    /// The time for everything.
    Time,
    /// The registry lets us in.
    Auth,
    /// The image is there.
    Missing,
    /// Bytes are what their digest says.
    Digest,
    /// A trusted key signed it.
    Signature,
    /// It is an installer image, well-formed, of a format that is known here, and for formats no older than those on disk.
    Format,
    /// It is for this architecture.
    Architecture,
    /// It is not below the floor.
    Floor,
    /// This machine's version can be upgraded to it.
    Minimum,
    /// It reads documents of this version.
    Schema,
    /// It is not larger than allowed.
    Size,
    /// There is room for it.
    Space,
    /// UKI, recovery UKI and loader are whole: sections, and a signature that fits their content.
    Program,
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pulled {
    /// The index: what was signed, and names this image for ever.
    pub digest: Digest,
    /// What is in it.
    pub manifest: Manifest,
    /// Name of the key that signed it; none with [`Verify::Warn`] only.
    pub signed_by: Option<String>,
    /// Where index and manifest came from.
    pub endpoint: String,
    /// One for each part that is not among [`Request::have`].
    pub files: Vec<File>,
    /// Bytes that came over the network, or from the layout's disk.
    pub fetched: u64,
    /// Bytes that were there from an earlier try.
    pub kept: u64,
    /// Milliseconds until all was there.
    pub fetch_ms: u64,
    /// Milliseconds for looking whether parts are whole.
    pub check_ms: u64,
}

/// A part in the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// `uki`.
    pub name: String,
    /// Absolute.
    pub path: String,
    /// Of its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}
