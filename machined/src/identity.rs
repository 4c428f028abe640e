//! What names this machine: machine id, boot id, host name. Made once by `boot`, read by all.
//!
//! The machine id is random, made at the first start of a boot and kept in /run for the machineds after. As soon as META
//! is there, the id it holds counts, or it is given this one; so a disk keeps its id and a machine without one has an id
//! for a boot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::{file, meta, trace};

/// Who this machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// 32 lower-case hexadecimal digits.
    pub machine_id: String,
    /// The kernel's UUID of this boot.
    pub boot_id: String,
    /// What the configuration says, maybe with a domain; else `stele-` and the machine id's first six digits.
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
pub struct Identity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    now: watch::Sender<Machine>,
    /// The host name that the configuration gives.
    given: Mutex<Option<String>>,
}

/// Keeps /run, the host name, /etc and META in step with the identity.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
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
    let hostname = default_name(&machine_id);
    let now = watch::Sender::new(Machine { machine_id, boot_id, hostname });
    let shared = Arc::new(Shared { now, given: Mutex::default() });
    let keeper = Keeper { shared: shared.clone(), file: file.to_owned() };
    if !known {
        keeper.save();
    }
    (Identity(shared), keeper)
}

/// The name of a machine that was given none.
fn default_name(machine_id: &str) -> String {
    format!("stele-{}", machine_id.get(..6).unwrap_or("000000"))
}

impl Machine {
    /// The kernel's host name: the first label.
    pub fn short(&self) -> &str {
        self.hostname.split('.').next().unwrap_or_default()
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Identity {
    /// As it is now.
    pub fn now(&self) -> Machine {
        self.0.now.borrow().clone()
    }

    /// As it is now and becomes: it changes when META is found, and with the name that the configuration gives.
    pub fn watch(&self) -> watch::Receiver<Machine> {
        self.0.now.subscribe()
    }

    /// The name that the configuration gives; nothing: the one made of the machine id. Called by `system/hostname` alone.
    pub fn rename(&self, given: Option<&str>) {
        self.0.given.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&given.map(str::to_owned));
        self.0.now.send_if_modified(|machine| {
            let hostname = given.map_or_else(|| default_name(&machine.machine_id), str::to_owned);
            let changed = machine.hostname != hostname;
            machine.hostname = hostname;
            changed
        });
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
        let mine = self.shared.now.borrow().clone();
        match meta.record().machine_id.filter(|id| is_id(id)) {
            Some(id) if id == mine.machine_id => {}
            Some(id) => {
                let given = self.shared.given.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let hostname = given.unwrap_or_else(|| default_name(&id));
                let machine = Machine { machine_id: id, boot_id: mine.boot_id, hostname };
                self.shared.now.send_replace(machine.clone());
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
        let text = format!("{}\n", self.shared.now.borrow().machine_id);
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
    fn a_name_is_given_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let (identity, _keeper) = build(&dir.path().join("machine-id"), "boot".into());
        let (default, mut watch) = (identity.now().hostname, identity.watch());
        identity.rename(Some("web-1.example.com"));
        assert!(watch.has_changed().unwrap());
        assert_eq!((identity.now().hostname.as_str(), identity.now().short()), ("web-1.example.com", "web-1"));
        watch.mark_unchanged();
        identity.rename(Some("web-1.example.com"));
        assert!(!watch.has_changed().unwrap());
        identity.rename(None);
        assert_eq!(identity.now().hostname, default);
    }

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
