//! What waits for a reboot: documents whose change the running machine cannot make.
//!
//! Invariant: it grows until the machine boots, whatever is applied meanwhile; only what is given up before it was proven takes
//! along what it brought. Kept in /run, so that the next machined of this boot knows it too.

use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{Action, Change, Effect};
use serde::{Deserialize, Serialize};

use crate::file;

/// By document, what was done to it.
type Waiting = BTreeMap<String, String>;

#[derive(Debug)]
pub(super) struct Pending {
    path: PathBuf,
    kept: Kept,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    waiting: Waiting,
    /// As it was with the revision that was proven last, while another is to be proven.
    before: Option<Waiting>,
}

impl Pending {
    /// What an earlier machined of this boot left at `path`.
    pub(super) fn load(path: PathBuf) -> Self {
        let kept = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, kept: kept.unwrap_or_default() }
    }

    /// A revision that is about to come into effect changes these documents.
    pub(super) fn changed(&mut self, changes: &[Change]) {
        let mut kept = self.kept.clone();
        kept.before.get_or_insert_with(|| self.kept.waiting.clone());
        let later = changes.iter().filter(|change| change.effect == Effect::Reboot);
        kept.waiting.extend(later.map(|change| (change.id.clone(), word(change.action).to_owned())));
        self.keep(kept);
    }

    /// What was to be proven was given up: so is what it changed.
    pub(super) fn gone(&mut self) {
        let Kept { waiting, before } = self.kept.clone();
        self.keep(Kept { waiting: before.unwrap_or(waiting), before: None });
    }

    /// What was changed has come to stay.
    pub(super) fn proven(&mut self) {
        self.keep(Kept { before: None, ..self.kept.clone() });
    }

    /// For people: "KernelModule/bonding (changed)".
    pub(super) fn list(&self) -> Vec<String> {
        self.kept.waiting.iter().map(|(id, word)| format!("{id} ({word})")).collect()
    }

    fn keep(&mut self, kept: Kept) {
        if kept == self.kept {
            return;
        }
        self.kept = kept;
        let bytes = serde_json::to_vec(&self.kept).unwrap_or_default();
        if let Err(error) = file::replace(&self.path, &bytes, 0o644) {
            tracing::warn!("a restarted machined will not know what waits for a reboot: {error}");
        }
    }
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Added => "added",
        Action::Removed => "removed",
        Action::Changed => "changed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str, effect: Effect) -> Change {
        let parsed = |value| {
            let text = format!("apiVersion: stele/v1\nkind: KernelModule\nname: {id}\nparameters: {{a: {value}}}\n");
            config::parse(&text).unwrap().documents
        };
        let mut changes = config::changes(&parsed(1), &parsed(2));
        let change = changes.remove(0);
        Change { effect, ..change }
    }

    #[test]
    fn it_grows_until_the_boot_and_what_is_given_up_takes_its_own_along() {
        let folder = tempfile::tempdir().unwrap();
        let load = || Pending::load(folder.path().join("pending"));
        let mut pending = load();
        pending.changed(&[change("one", Effect::Reboot), change("live", Effect::Live)]);
        pending.proven();
        pending.changed(&[]);
        assert_eq!(load().list(), ["KernelModule/one (changed)"]);
        pending.changed(&[change("two", Effect::Reboot)]);
        assert_eq!(load().list().len(), 2);
        let mut next = load();
        next.gone();
        assert_eq!((next.list(), load().list()), (vec!["KernelModule/one (changed)".to_owned()], next.list()));
        next.changed(&[change("two", Effect::Reboot)]);
        next.proven();
        next.gone();
        assert_eq!(next.list().len(), 2, "nothing is to be proven");
    }
}
