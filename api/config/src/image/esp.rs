//! `installer esp`: makes the EFI system partition hold what is wanted. One [`Request`] as JSON on its standard input, one
//! [`Line`] of JSON after the other on its standard output; the last one is [`Line::Done`] (exit code 0) or [`Line::Failed`]
//! (exit code 1).
//!
//! Every step of it may be begun again: whoever starts it may end it at any time, or the power may go, and start it again with the
//! same request. Until it says Done nothing that it was told to keep is touched.

use serde::{Deserialize, Serialize};

use super::Digest;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The partition's block device.
    pub device: String,
    /// An empty folder to mount it on; nobody else mounts it meanwhile.
    pub mount: String,
    /// Every UKI that is to stay; all other UKIs of ours go.
    pub keep: Vec<Digest>,
    /// Every entry that is to be there; all other entries of ours go, before anything else does.
    pub entries: Vec<Entry>,
    /// UKIs to write, each complete and read back before the next step.
    #[serde(default)]
    pub add: Vec<Source>,
    /// Only say what is there, whether what is to be kept is whole, and whether what is to be added could be written: nothing but a
    /// repair is done.
    #[serde(default)]
    pub look: bool,
    /// The loader to put in place of the one that is there. If it lies among the UKIs of this partition it goes from there once it
    /// is in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<Source>,
}

/// A boot entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The generation; absent: recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Its UKI.
    pub digest: Digest,
    /// Its version, for people.
    pub version: String,
}

/// A file to be copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Absolute.
    pub path: String,
    /// What it must hold.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// How far it is.
    Progress(Progress),
    /// Something was not as it should have been, and was mended or is no reason to stop.
    Warning(String),
    /// The end: it is as wanted.
    Done(Done),
    /// The end: it is not.
    Failed(Failed),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// `repair`, `clear`, `write`, `verify`, `entries`, `loader`.
    pub step: String,
    /// Bytes of it that are done.
    pub done: u64,
    /// Bytes of it; 0 when it has none.
    pub total: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// UKIs that were to be kept and are not there, or do not hold what their name says. Looked at with `look`, and after a
    /// repair.
    pub damaged: Vec<Digest>,
    /// What has an entry of ours, and is whole.
    #[serde(default)]
    pub found: Vec<Found>,
    /// Bytes that were written.
    pub written: u64,
    /// Bytes that are free now.
    pub free: u64,
    /// What there would be for what is to be added. Said with `look`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
}

/// The room on the partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Bytes that are free once everything of ours that may go has gone.
    pub free: u64,
    /// Bytes that are needed.
    pub needed: u64,
    /// The largest files that are none of ours.
    #[serde(default)]
    pub foreign: Vec<Foreign>,
}

/// A file of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Foreign {
    /// From the root of the partition.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

impl Room {
    /// How much is missing, and what is in the way, if the room does not suffice.
    #[must_use]
    pub fn lack(&self) -> Option<String> {
        let missing = self.needed.checked_sub(self.free).filter(|missing| *missing > 0)?;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let files: Vec<_> = self.foreign.iter().map(|file| format!("{} ({} MiB)", file.path, mib(file.size))).collect();
        let files = if files.is_empty() {
            "nothing lies there that is not ours".into()
        } else {
            format!("what lies there and is not ours: {}", files.join(", "))
        };
        let (needed, missing) = (mib(self.needed), mib(missing));
        Some(format!(
            "the EFI partition has not room enough: {needed} MiB are needed, {missing} MiB are missing; {files}"
        ))
    }
}

/// A UKI with an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The generation; absent: recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Its UKI, as the disk has it.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// Why it is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// In which step.
    pub step: String,
    /// Why, with the path.
    pub message: String,
    /// What to do.
    pub remedy: String,
}
