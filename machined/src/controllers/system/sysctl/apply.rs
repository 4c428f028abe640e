//! Brings settings to their values, and back to what they were. Blocking.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where settings are.
pub(crate) trait Host: Clone + Send + 'static {
    /// The value, without the line's end.
    fn read(&self, path: &str) -> io::Result<String>;
    /// Another value.
    fn write(&self, path: &str, value: &str) -> io::Result<()>;
}

/// `/proc/sys`.
#[derive(Clone, Debug)]
pub(crate) struct Proc(PathBuf);

impl Proc {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }
}

impl Host for Proc {
    fn read(&self, path: &str) -> io::Result<String> {
        let bytes = fs::read(self.0.join(path))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    fn write(&self, path: &str, value: &str) -> io::Result<()> {
        // One write: the kernel takes each as a value of its own. Never makes a file.
        io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(self.0.join(path))?, value.as_bytes())
    }
}

/// By path: the value.
pub(super) type Wanted = BTreeMap<String, String>;

/// What is known of a setting that was changed; in /run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// What it was; absent: the kernel did not show it.
    before: Option<String>,
    /// What was written.
    wanted: String,
    /// What the kernel then showed: `0x10` reads as `16`. Absent: not written yet, or not shown.
    pub(super) applied: Option<String>,
}

/// What came of a setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) value: String,
    pub(super) wanted: String,
    pub(super) before: String,
    pub(super) problem: String,
    /// What somebody else had set it to.
    pub(super) drifted: Option<String>,
}

/// Applies what is wanted and takes back what no longer is; keeps what was before each write. Of what could not be put back
/// there is an outcome, too.
pub(super) fn apply(
    host: &impl Host,
    wanted: &Wanted,
    mut kept: BTreeMap<String, Kept>,
    keep: impl Fn(&BTreeMap<String, Kept>) -> io::Result<()>,
) -> io::Result<BTreeMap<String, Outcome>> {
    let mut outcomes = BTreeMap::new();
    // All at once before the first write: a few hundred settings are not a few hundred files.
    let mut new = false;
    for (path, value) in wanted {
        let old = kept.get(path);
        if old.is_some_and(|old| old.wanted == *value && old.applied.is_some()) {
            continue;
        }
        let before = old.and_then(|old| old.before.clone()).or_else(|| host.read(path).ok());
        let entry = Kept { before, wanted: value.clone(), applied: None };
        if old != Some(&entry) {
            kept.insert(path.clone(), entry);
            new = true;
        }
    }
    if new {
        keep(&kept)?;
    }
    let known = kept.clone();
    for (path, value) in wanted {
        if let Some(entry) = kept.get_mut(path) {
            outcomes.insert(path.clone(), set(host, path, value, entry));
        }
    }
    for path in known.keys().filter(|path| !wanted.contains_key(*path)) {
        match put_back(host, path, &known[path]) {
            Ok(()) => drop(kept.remove(path)),
            Err(problem) => {
                let before = known[path].before.clone().unwrap_or_default();
                outcomes.insert(path.clone(), Outcome { before, problem, ..Outcome::default() });
            }
        }
    }
    if kept != known {
        keep(&kept)?;
    }
    Ok(outcomes)
}

fn set(host: &impl Host, path: &str, value: &str, entry: &mut Kept) -> Outcome {
    let mut outcome =
        Outcome { wanted: value.into(), before: entry.before.clone().unwrap_or_default(), ..Outcome::default() };
    let found = host.read(path);
    match (&found, &entry.applied) {
        (Ok(now), Some(applied)) if same(now, applied) => {
            outcome.value.clone_from(now);
            return outcome;
        }
        // It shows nothing, and was written.
        (Err(error), Some(_)) if error.kind() == ErrorKind::PermissionDenied => return outcome,
        (Ok(now), Some(_)) => outcome.drifted = Some(now.clone()),
        _ => {}
    }
    // Some settings act when written: one that is right already is left alone.
    let right = found.as_ref().is_ok_and(|now| same(now, value));
    if !right && let Err(error) = host.write(path, value) {
        outcome.problem = problem(&error, path);
        outcome.value = found.unwrap_or_default();
        entry.applied = None;
        outcome.drifted = None;
        return outcome;
    }
    outcome.value = host.read(path).unwrap_or_default();
    entry.applied = Some(outcome.value.clone());
    outcome
}

fn put_back(host: &impl Host, path: &str, entry: &Kept) -> Result<(), String> {
    // Also when it is not known that it was written: machined may have ended in between.
    let Some(before) = &entry.before else { return Ok(()) };
    match host.read(path) {
        Ok(now) if same(&now, before) => return Ok(()),
        // The link or the module it belonged to is gone.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    let cannot = |error: io::Error| format!("cannot be put back to {before}: {}", problem(&error, path));
    host.write(path, before).map_err(cannot)
}

/// The kernel puts tabs between numbers that people part by spaces.
fn same(a: &str, b: &str) -> bool {
    a.split_ascii_whitespace().eq(b.split_ascii_whitespace())
}

fn problem(error: &io::Error, path: &str) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            format!("there is no /proc/sys/{path}: check the name; a KernelModule or a Link may have to bring it first")
        }
        ErrorKind::InvalidInput => "the kernel does not take this value".into(),
        ErrorKind::PermissionDenied => "the kernel lets nobody change it".into(),
        ErrorKind::IsADirectory => "this is a group of settings: name one of them".into(),
        _ => error.to_string(),
    }
}
