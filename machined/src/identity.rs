//! What names this machine: machine id, boot id, host name. Made once by `boot`, read by all.
//!
//! The machine id is random, made at the first start of a boot and kept in /run for the machineds after. As soon as META
//! is there, the id it holds counts, or it is given this one; so a disk keeps its id and a machine without one has an id
//! for a boot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::{file, meta, trace};

/// Who this machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// 32 lower-case hexadecimal digits.
    pub machine_id: String,
    /// The kernel's UUID of this boot.
    pub boot_id: String,
    /// `stele-` and the machine id's first six digits.
    pub hostname: String,
}

/// The kernel does not say which boot this is.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct Error {
    path: &'static str,
    #[source]
    source: io::Error,
}

/// Reads and follows the identity; cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity {
    now: watch::Receiver<Machine>,
}

/// Keeps /run, the host name, /etc and META in step with the identity.
#[derive(Debug)]
pub struct Keeper {
    now: watch::Sender<Machine>,
    file: PathBuf,
}

/// The id of this boot.
pub fn boot_id() -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(|source| Error { path, source })?;
    Ok(text.trim().to_owned())
}

/// The identity as far as it is known without a disk; `file` keeps it for the next machined of this boot.
/// A file that cannot be written costs the next machined this id, not this one its start.
pub fn build(file: &Path, boot_id: String) -> (Identity, Keeper) {
    let kept = fs::read_to_string(file).ok().map(|text| text.trim().to_owned()).filter(|id| is_id(id));
    let known = kept.is_some();
    let machine_id = kept.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let now = watch::Sender::new(named(machine_id, boot_id));
    let keeper = Keeper { now, file: file.to_owned() };
    if !known {
        keeper.save();
    }
    (Identity { now: keeper.now.subscribe() }, keeper)
}

fn named(machine_id: String, boot_id: String) -> Machine {
    let hostname = format!("stele-{}", machine_id.get(..6).unwrap_or("000000"));
    Machine { machine_id, boot_id, hostname }
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Identity {
    /// As it is now.
    pub fn now(&self) -> Machine {
        self.now.borrow().clone()
    }

    /// As it is now and becomes: it changes at most once, when META is found.
    pub fn watch(&self) -> watch::Receiver<Machine> {
        self.now.clone()
    }
}

impl Keeper {
    /// Follows META; returns when nothing can change any more. `changed` is called when the machine has another name.
    pub async fn run(self, meta: meta::Handle, changed: impl Fn(&Machine)) {
        let mut state = meta.watch();
        loop {
            if matches!(*state.borrow_and_update(), meta::State::Read { .. } | meta::State::Attached { .. }) {
                self.agree(&meta, &changed).await;
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    }

    async fn agree(&self, meta: &meta::Handle, changed: &impl Fn(&Machine)) {
        let mine = self.now.borrow().clone();
        match meta.record().machine_id.filter(|id| is_id(id)) {
            Some(id) if id == mine.machine_id => {}
            Some(id) => {
                let machine = named(id, mine.boot_id);
                self.now.send_replace(machine.clone());
                self.save();
                changed(&machine);
            }
            None => {
                if let Err(error) = meta.update(|record| record.machine_id = Some(mine.machine_id)).await {
                    tracing::warn!("the machine id is not kept: {}", trace::chain(&error));
                }
            }
        }
    }

    fn save(&self) {
        let text = format!("{}\n", self.now.borrow().machine_id);
        if let Err(error) = file::replace(&self.file, text.as_bytes(), 0o644) {
            tracing::warn!(
                "the next machined will not know the machine id: cannot write {}: {error}",
                self.file.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_for_the_next_machined_and_nonsense_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("machine-id");
        let (first, _keeper) = build(&file, "boot".into());
        let (second, _keeper) = build(&file, "boot".into());
        assert_eq!(first.now(), second.now());
        assert!(is_id(&first.now().machine_id));
        assert_eq!(first.now().hostname, format!("stele-{}", &first.now().machine_id[..6]));
        fs::write(&file, "nonsense\n").unwrap();
        let (third, _keeper) = build(&file, "boot".into());
        assert_ne!(first.now(), third.now());
        let (_fourth, _keeper) = build(dir.path(), "a folder cannot be written as a file".into());
    }
}
