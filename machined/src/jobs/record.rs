//! A job as it is written down. Pure.
//!
//! Invariant: what is written stays small, whatever a registry or a program says: META has 16 KiB for all of machined's facts.
//! Fields that a release does not know are left out; a job whose kind it does not know is left alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resources::job::{Begun, Job, Phase};
use crate::trace::cut;

/// How many are kept that are over.
pub(super) const HISTORY: usize = 16;
/// Bytes of a reason, a remedy, a warning, who asked.
const TEXT: usize = 400;
/// Bytes of a name in a request: the longest reference of an image is some hundred.
const NAME: usize = 600;
/// Warnings.
const WARNINGS: usize = 2;
/// Steps whose begin is kept, and bytes of a name: more than any job has.
const STEPS: usize = 10;
const STEP: usize = 16;
/// Bytes of what steps leave for those after them.
const LEFT: usize = 512;

/// What is asked for. Two that are equal are the same wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Request {
    /// Another version of the system.
    Upgrade(Upgrade),
    /// The system onto a disk.
    Install(Install),
}

/// An upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// The image's name.
    pub image: String,
    /// Also below the version floor.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// Also one that failed here before.
    #[serde(default)]
    pub retry_failed: bool,
}

/// An install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Install {
    /// Which disk, in the words of the request.
    pub disk: String,
    /// The image's name; empty: what the machine runs.
    #[serde(default)]
    pub image: String,
    /// What is on the disk goes.
    #[serde(default)]
    pub wipe: bool,
    /// What the document that asked for it is called on the disk; empty: somebody asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub document: String,
}

impl Request {
    /// `upgrade`, `install`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Upgrade(_) => "upgrade",
            Self::Install(_) => "install",
        }
    }

    /// In words.
    pub fn what(&self) -> String {
        match self {
            Self::Upgrade(Upgrade { image, allow_downgrade, retry_failed }) => {
                let downgrade = if *allow_downgrade { ", a downgrade allowed" } else { "" };
                let retry = if *retry_failed { ", also if it failed before" } else { "" };
                format!("{image}{downgrade}{retry}")
            }
            Self::Install(Install { disk, image, wipe, .. }) => {
                let image = if image.is_empty() { "what runs" } else { image };
                format!("{image} on {disk}{}", if *wipe { ", what is there goes" } else { "" })
            }
        }
    }

    /// Which field is too long to be kept.
    pub(super) fn too_long(&self) -> Option<&'static str> {
        let fields = match self {
            Self::Upgrade(upgrade) => vec![("image", &upgrade.image)],
            Self::Install(install) => vec![("disk", &install.disk), ("image", &install.image)],
        };
        fields.into_iter().find(|(_, text)| text.len() > NAME).map(|(field, _)| field)
    }
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its number; they only rise.
    pub id: u64,
    /// What was asked for.
    pub request: Request,
    /// Who asked.
    pub by: String,
    /// How it stands.
    #[serde(default)]
    pub phase: Phase,
    /// The step under way.
    #[serde(default)]
    pub step: String,
    /// When each step began last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Begun>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// What was not as it should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Of an install: what the installed system's API will be known by.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// It is past its point of no return.
    #[serde(default)]
    pub committed: bool,
    /// When it was asked for, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_ms: Option<u64>,
    /// How often it was begun.
    #[serde(default)]
    pub starts: u32,
    /// What steps left for those after them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left: BTreeMap<String, Value>,
}

impl Record {
    /// One that is asked for now.
    pub(super) fn new(id: u64, request: Request, by: &str, now: u64) -> Self {
        Self {
            id,
            request,
            by: text(by),
            phase: Phase::Running,
            step: "begin".into(),
            steps: Vec::new(),
            reason: String::new(),
            remedy: String::new(),
            warnings: Vec::new(),
            fingerprint: String::new(),
            committed: false,
            started_unix_ms: now,
            ended_unix_ms: None,
            starts: 0,
            left: BTreeMap::new(),
        }
    }

    /// It only waits for what comes of its reboot: another start of the machine undoes nothing of it, and is undone by nothing.
    pub(super) fn is_proving(&self) -> bool {
        self.committed && self.step == super::upgrade::PROVE
    }

    /// Another step than before begins; says whether it is another. One that is begun once more counts from now.
    pub(super) fn begin(&mut self, step: &str, now: u64) -> bool {
        let step = short(step, STEP);
        if self.step == step {
            return false;
        }
        self.steps.retain(|begun| begun.name != step);
        self.steps.push(Begun { name: step.clone(), unix_ms: now, bytes: 0 });
        let surplus = self.steps.len().saturating_sub(STEPS);
        self.steps.drain(..surplus);
        self.step = step;
        true
    }

    /// So many bytes were moved in this step.
    pub(super) fn moved(&mut self, step: &str, bytes: u64) {
        if let Some(begun) = self.steps.iter_mut().find(|begun| begun.name == step) {
            begun.bytes = bytes;
        }
    }

    /// It is over.
    pub(super) fn end(&mut self, phase: Phase, reason: &str, remedy: &str, now: u64) {
        self.phase = phase;
        (self.reason, self.remedy) = (text(reason), text(remedy));
        self.ended_unix_ms = Some(now);
        // For those who come after it, not for people.
        self.left.clear();
    }

    /// Something is not as it should be.
    pub(super) fn warn(&mut self, what: &str) {
        let what = text(what);
        if self.warnings.len() < WARNINGS && !self.warnings.contains(&what) {
            self.warnings.push(what);
        }
    }

    /// Leaves something for later steps; says whether there is room.
    pub(super) fn leave(&mut self, name: &str, value: Value) -> bool {
        let before = self.left.insert(name.to_owned(), value);
        let fits = serde_json::to_vec(&self.left).is_ok_and(|text| text.len() <= LEFT);
        if !fits {
            self.left.remove(name);
            self.left.extend(before.map(|before| (name.to_owned(), before)));
        }
        fits
    }

    /// As it is shown.
    pub(super) fn shown(&self, (done_bytes, total_bytes): (u64, u64)) -> Job {
        Job {
            kind: self.request.kind().into(),
            what: self.request.what(),
            phase: self.phase,
            step: self.step.clone(),
            done_bytes,
            total_bytes,
            reason: self.reason.clone(),
            remedy: self.remedy.clone(),
            warnings: self.warnings.clone(),
            fingerprint: self.fingerprint.clone(),
            steps: self.steps.clone(),
            cancellable: !self.phase.is_over() && !self.committed,
            started_unix_ms: self.started_unix_ms,
            ended_unix_ms: self.ended_unix_ms,
            by: self.by.clone(),
            starts: self.starts,
        }
    }
}

/// Short, and on one line: as JSON a control character takes six bytes.
fn text(said: &str) -> String {
    short(said, TEXT)
}

fn short(said: &str, most: usize) -> String {
    cut(said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(), most)
}

/// Jobs as they are written down, in META, in /run and on STATE.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The highest number that was ever given.
    #[serde(default)]
    pub last: u64,
    /// The oldest first.
    #[serde(default)]
    pub jobs: Vec<Record>,
}

impl Kept {
    /// What can be read of it: jobs of another release that nobody here knows are left out.
    pub fn read(value: &Value) -> Self {
        let jobs = value.get("jobs").and_then(Value::as_array).into_iter().flatten();
        let jobs: Vec<Record> = jobs.filter_map(|job| serde_json::from_value(job.clone()).ok()).collect();
        let numbers = jobs.iter().map(|job| job.id);
        let last = numbers.chain(value.get("last").and_then(Value::as_u64)).max().unwrap_or(0);
        Self { last, jobs }
    }

    /// What both say; of one job, what this one says.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.merge(other);
        self
    }

    /// Takes in what another place kept; what is here already counts.
    pub(super) fn merge(&mut self, other: Self) {
        self.last = self.last.max(other.last);
        for job in other.jobs {
            if !self.jobs.iter().any(|known| known.id == job.id) {
                self.jobs.push(job);
            }
        }
        self.prune();
    }

    /// Takes the place of what is known of this job.
    pub(super) fn put(&mut self, job: Record) {
        self.last = self.last.max(job.id);
        match self.jobs.iter_mut().find(|known| known.id == job.id) {
            Some(known) => *known = job,
            None => self.jobs.push(job),
        }
        self.prune();
    }

    /// The oldest that are over go.
    fn prune(&mut self) {
        self.jobs.sort_by_key(|job| job.id);
        let over = self.jobs.iter().filter(|job| job.phase.is_over()).count();
        let mut surplus = over.saturating_sub(HISTORY);
        self.jobs.retain(|job| {
            let goes = surplus > 0 && job.phase.is_over();
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// The one that is not over.
    pub fn running(&self) -> Option<&Record> {
        self.jobs.iter().find(|job| !job.phase.is_over())
    }

    /// What META keeps: the last number, and the last job.
    pub(super) fn for_meta(&self) -> Self {
        let job = self.running().or(self.jobs.last());
        Self { last: self.last, jobs: job.cloned().into_iter().collect() }
    }

    /// What STATE keeps: those that are over.
    pub(super) fn for_state(&self) -> Self {
        let over = self.jobs.iter().filter(|job| job.phase.is_over());
        Self { last: self.last, jobs: over.cloned().collect() }
    }

    /// As JSON.
    pub fn value(&self) -> Value {
        // Strings, numbers and what was JSON before.
        serde_json::to_value(self).unwrap_or_default()
    }
}
