//! What machined keeps in META: a small JSON document. Pure.
//!
//! Invariant: fields this release does not know are kept as they are, so going back to an older release loses nothing.
//! The objects inside are replaced as a whole: a release that knows more of a thing adds a field of the document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reset::{Done, Reset};
use crate::configuration::choice::Run;
use crate::jobs::Kept;
use crate::stop::Action;

/// Version of the document that this release writes.
pub(super) const VERSION: u32 = 1;

/// machined's facts about this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the document.
    pub version: u32,
    /// 32 lower-case hex digits, made once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Key and certificate of the API while there is no configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// A configuration was durable once: never open maintenance mode again.
    #[serde(default)]
    pub configured: bool,
    /// The revision of the configuration that runs, and how often it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Certificate (PEM) of the rescue authority, which lets in also when STATE cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue: Option<String>,
    /// The generation whose configuration was settled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran: Option<u32>,
    /// The start (`boots` of the boot state) that was known last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots: Option<u32>,
    /// Versions of Stele by the digest of their UKI, as far as they are known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
    /// The highest version floor of what was blessed here: nothing below is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// What the EFI partition was last made into: generations and recovery with their digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<String>,
    /// What lies on the disk for the generation that is to be tried, or is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// Generations that failed on trial, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// The document that installed this disk, where nobody was at it; see `jobs::install`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    /// A reset that is to be done, or is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// A reset wiped EPHEMERAL, and it was not made anew yet: nobody wants back what its partition holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
    /// The last reset of this disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_reset: Option<Done>,
    /// Random seed for the next boot, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// The last job, and the number it had; see `jobs::Kept`. Jobs of other releases do not make this unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Value>,
    /// The boot that wrote last: this one, once META is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Mark>,
    /// The boot before that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Mark>,
    /// Fields of other releases.
    #[serde(flatten)]
    pub other: serde_json::Map<String, Value>,
}

/// A key with its certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// PKCS#8, PEM.
    pub key: String,
    /// X.509, PEM.
    pub certificate: String,
}

/// The key is never printed.
impl std::fmt::Debug for Identity {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What an upgrade has put on the EFI partition, by content. Digests are hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Staged {
    /// The number that the generation gets, or has.
    pub generation: u32,
    /// The slot it is for.
    pub slot: usize,
    /// Its version.
    pub version: String,
    /// Nothing below this version once it is blessed.
    pub floor: String,
    /// SHA-256 and bytes of its UKI, of the recovery system, and of the loader: the latter two take their places once it is
    /// blessed; no digest: there is none.
    pub uki: (String, u64),
    /// See `uki`.
    pub recovery: (String, u64),
    /// See `uki`.
    pub loader: (String, u64),
}

/// A generation that failed on trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failed {
    /// Its number.
    pub generation: u32,
    /// SHA-256 of its UKI, hexadecimal.
    pub digest: String,
    /// Its version, empty when unknown.
    pub version: String,
    /// Why it failed.
    pub why: String,
    /// How far it came: `loader`, `machined`, `gates`.
    pub phase: String,
    /// Starts it had.
    pub starts: u32,
    /// Seconds since 1970 by the machine's clock when it was noted.
    pub time_unix: u64,
}

/// One boot of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The kernel's id of the boot.
    pub id: String,
    /// The generation that ran, once that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// It was the recovery system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovery: bool,
    /// The generation on trial of which an operator said in this boot that it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u32>,
    /// How it was asked to end, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// An end that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What the machine was to do.
    pub action: Action,
    /// Who asked and why.
    pub cause: String,
    /// Seconds since 1970 by the machine's clock.
    pub time_unix: u64,
    /// machined has stopped everything and handed over to init. Releases that did not tell only noted good ends.
    #[serde(default = "yes")]
    pub complete: bool,
}

fn yes() -> bool {
    true
}

impl Default for Record {
    fn default() -> Self {
        Self {
            version: VERSION,
            machine_id: None,
            identity: None,
            configured: false,
            run: None,
            rescue: None,
            ran: None,
            boots: None,
            versions: BTreeMap::new(),
            floor: None,
            settled: None,
            staged: None,
            failed: Vec::new(),
            installed: None,
            reset: None,
            anew: false,
            was_reset: None,
            seed: None,
            jobs: None,
            boot: None,
            previous: None,
            other: serde_json::Map::new(),
        }
    }
}

impl Record {
    /// Notes which boot this is; the mark of another one becomes the previous.
    pub(super) fn begin(&mut self, boot_id: &str) {
        if self.boot.as_ref().is_some_and(|mark| mark.id == boot_id) {
            return;
        }
        let this = Mark { id: boot_id.into(), ..Mark::default() };
        self.previous = self.boot.replace(this).or(self.previous.take());
    }

    /// Notes how this boot ends.
    pub(super) fn stopping(&mut self, stop: Stop) {
        self.boot.get_or_insert_default().stop = Some(stop);
    }

    /// Notes that machined's part of the stop is done.
    pub(super) fn stopped(&mut self) {
        if let Some(Mark { stop: Some(stop), .. }) = &mut self.boot {
            stop.complete = true;
        }
    }

    /// This record of a disk, with what only `memory` knows filled in, begun for this boot.
    pub(super) fn filled_from(mut self, memory: &Self, boot_id: &str) -> Self {
        self.version = self.version.max(VERSION);
        self.forget_identity_if_due(boot_id);
        self.machine_id = self.machine_id.or_else(|| memory.machine_id.clone());
        self.identity = self.identity.or_else(|| memory.identity.clone());
        self.seed = self.seed.or_else(|| memory.seed.clone());
        // What was decided in this boot before the disk could be written is newer than what it says.
        self.run = memory.run.clone().or(self.run);
        self.rescue = memory.rescue.clone().or(self.rescue);
        self.jobs = match (&memory.jobs, self.jobs) {
            (Some(memory), Some(disk)) => Some(Kept::read(memory).and(Kept::read(&disk)).value()),
            (memory, disk) => memory.clone().or(disk),
        };
        self.configured |= memory.configured;
        self.begin(boot_id);
        if let (Some(mark), Some(seen)) = (&mut self.boot, &memory.boot) {
            mark.stop = mark.stop.take().or_else(|| seen.stop.clone());
            mark.generation = mark.generation.or(seen.generation);
            mark.confirmed = mark.confirmed.or(seen.confirmed);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_newer_release_are_kept() {
        let text = r#"{"version":7,"configured":true,"later":{"x":[1]}}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        let back = serde_json::to_value(record.filled_from(&Record::default(), "b")).unwrap();
        assert_eq!(back["later"]["x"][0], 1);
        assert_eq!(back["version"], 7);
        assert_eq!(back["configured"], true);
    }

    #[test]
    fn a_stop_reads_as_it_was_written_before_and_after() {
        let old: Stop = serde_json::from_str(r#"{"action":"power-off","cause":"x","time_unix":1}"#).unwrap();
        assert_eq!((old.action, old.complete), (Action::PowerOff, true));
        let mut record = Record::default();
        record.begin("a");
        record.stopping(Stop { complete: false, action: Action::Halt, ..old });
        let noted = serde_json::to_value(&record).unwrap();
        assert_eq!(
            (&noted["boot"]["stop"]["action"], &noted["boot"]["stop"]["complete"]),
            (&"halt".into(), &false.into())
        );
        record.stopped();
        assert!(record.boot.unwrap().stop.unwrap().complete);
    }

    #[test]
    fn boots_follow_one_another_and_a_restart_of_machined_is_no_boot() {
        let stop = Stop { action: Action::Reboot, cause: "test".into(), time_unix: 1, complete: false };
        let mut record = Record::default();
        record.begin("one");
        record.stopping(stop.clone());
        record.begin("two");
        record.begin("two");
        assert_eq!(record.previous, Some(Mark { id: "one".into(), stop: Some(stop), ..Mark::default() }));
        record.begin("three");
        assert_eq!(record.previous, Some(Mark { id: "two".into(), ..Mark::default() }));
    }

    #[test]
    fn the_disk_wins_but_for_what_was_decided_since_and_memory_fills_the_gaps() {
        let disk = Record { machine_id: Some("disk".into()), ..Record::default() };
        let mut memory = Record { machine_id: Some("memory".into()), seed: Some("00".into()), ..Record::default() };
        memory.rescue = Some("now".into());
        let disk = Record { rescue: Some("before".into()), ..disk };
        memory.begin("now");
        let merged = disk.filled_from(&memory, "now");
        assert_eq!(merged.machine_id.as_deref(), Some("disk"));
        assert_eq!(merged.seed.as_deref(), Some("00"));
        assert_eq!(merged.rescue.as_deref(), Some("now"));
        assert_eq!(merged.boot.unwrap().id, "now");
    }

    #[test]
    fn a_key_is_not_printed() {
        let identity = Identity { key: "SECRET".into(), certificate: "public".into() };
        assert!(!format!("{identity:?}").contains("SECRET"));
    }

    fuzz::targets! {
        // What a disk says that machined wrote there.
        meta_document: |bytes| {
            let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return };
            let record = record.filled_from(&Record::default(), "boot");
            let text = serde_json::to_vec(&record).unwrap();
            assert_eq!(serde_json::from_slice::<Record>(&text).unwrap(), record);
        },
    }
}
