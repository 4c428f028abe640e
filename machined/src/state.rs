//! STATE as the rest of machined sees it: whether it is there, where, and a wish that it be made.
//!
//! Invariant: nobody but `controllers::disk` mounts or makes it; it says here what it found, and looks again whenever
//! somebody wishes. A wish ends with STATE mounted or with the reason why it cannot be, never later than [`LIMIT`]; who
//! gives up meanwhile takes the wish back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::resources::wait;

/// For STATE to be made: drivers that hang, disks that show up late, and the programs that make it.
const LIMIT: Duration = wait::STATE;

/// What STATE is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The system disk is looked for, or what is on it is being checked.
    #[default]
    Waiting,
    /// There is none, for this reason: this machine was never configured here. It can be made.
    None(String),
    /// There is one that cannot be used, or one is missing that should be there; for this reason, with the remedy.
    Unusable(String),
    /// It can be used.
    Mounted {
        /// Its root folder.
        root: PathBuf,
    },
}

/// Why there is no STATE to write to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be made, or must not be; says what to do.
    #[error("{0}")]
    Refused(String),
    /// It took too long.
    #[error("STATE was not ready within {} s: {waits_for}", LIMIT.as_secs())]
    Late {
        /// What it was waiting for.
        waits_for: String,
    },
}

/// STATE of this machine; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: watch::Sender<State>,
    wishes: watch::Sender<Wishes>,
    answer: watch::Sender<Answer>,
    needs: watch::Sender<Needs>,
}

/// What the controller of drivers is asked for before its usual time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Modules of file systems.
    pub modules: BTreeSet<&'static str>,
    /// The drivers of all disks: until they are there nothing is written to any.
    pub disks: bool,
}

/// Who wants STATE to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// How many were ever made: the number of the newest.
    pub made: u64,
    /// How many still wait.
    pub open: usize,
}

/// How far the wishes have come.
#[derive(Clone, Debug, Default)]
struct Answer {
    /// What is waited for.
    waits_for: String,
    /// Wishes up to this number cannot be granted, for this reason.
    refused: Option<(u64, String)>,
}

/// Takes a wish back.
struct Wish<'a>(&'a Shared);

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        self.0.wishes.send_modify(|wishes| wishes.open -= 1);
    }
}

impl Handle {
    /// A machine whose STATE was not looked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state now and every later one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.state.borrow().clone()
    }

    /// Makes STATE for the first configuration if it is not there, and returns its root folder. Where there is one already
    /// this changes nothing. Cancel-safe: what has begun goes on, and is found half made or whole by the next wish.
    ///
    /// # Errors
    /// It cannot be made, or must not be because something else is in its place; it took too long.
    pub async fn make(&self) -> Result<PathBuf, Error> {
        let (mut state, mut answer) = (self.0.state.subscribe(), self.0.answer.subscribe());
        let mut number = 0;
        self.0.wishes.send_modify(|wishes| {
            wishes.open += 1;
            wishes.made += 1;
            number = wishes.made;
        });
        let _wish = Wish(&self.0);
        let granted = async {
            loop {
                if let State::Mounted { root } = &*state.borrow_and_update() {
                    return Ok(root.clone());
                }
                if let Some((up_to, why)) = &answer.borrow_and_update().refused
                    && *up_to >= number
                {
                    return Err(Error::Refused(why.clone()));
                }
                // Neither can fail: `self` holds the senders.
                tokio::select! {
                    _ = state.changed() => {}
                    _ = answer.changed() => {}
                }
            }
        };
        match tokio::time::timeout(LIMIT, granted).await {
            Ok(done) => done,
            Err(_) => Err(Error::Late { waits_for: self.0.answer.borrow().waits_for.clone() }),
        }
    }

    /// Bytes that can still be written; 0 without STATE. Blocks no longer than the kernel takes to look into its memory.
    #[must_use]
    pub fn free(&self) -> u64 {
        let State::Mounted { root } = self.state() else { return 0 };
        rustix::fs::statvfs(&root).map_or(0, |volume| volume.f_bavail.saturating_mul(volume.f_frsize))
    }

    /// Says what was found. For the disk controller.
    pub fn put(&self, state: State) {
        self.0.state.send_if_modified(|now| {
            let changed = *now != state;
            *now = state;
            changed
        });
    }

    /// Who wants it. For the disk controllers.
    pub fn wishes(&self) -> watch::Receiver<Wishes> {
        self.0.wishes.subscribe()
    }

    /// Says what the wishes wait for. For the disk controller.
    pub fn waits_for(&self, what: &str) {
        self.0.answer.send_modify(|answer| what.clone_into(&mut answer.waits_for));
    }

    /// Asks for a kernel module that a file system needs. For the disk controller.
    pub fn need(&self, module: &'static str) {
        self.0.needs.send_if_modified(|needs| needs.modules.insert(module));
    }

    /// Asks for the drivers of all disks. For whoever must not decide before all disks are there.
    pub fn need_disks(&self) {
        self.0.needs.send_if_modified(|needs| !std::mem::replace(&mut needs.disks, true));
    }

    /// What was asked for. For the controller that loads drivers.
    pub fn needs(&self) -> watch::Receiver<Needs> {
        self.0.needs.subscribe()
    }

    /// Says why wishes up to this number cannot be granted. For the disk controller.
    pub fn refuse(&self, up_to: u64, why: &str) {
        self.0.answer.send_modify(|answer| answer.refused = Some((up_to, why.into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_granted_refused_or_late_and_is_taken_back() {
        let handle = Handle::new();
        let mut wishes = handle.wishes();
        handle.waits_for("the choice of the system disk");
        let late = handle.make().await.unwrap_err();
        assert!(late.to_string().contains("the choice of the system disk"), "{late}");
        assert_eq!(*wishes.borrow_and_update(), Wishes { made: 1, open: 0 });

        handle.refuse(1, "an earlier one");
        let answered = async {
            let wish = *wishes.wait_for(|wishes| wishes.open == 1).await.unwrap();
            handle.refuse(wish.made, "there is no room");
        };
        let (refused, ()) = tokio::join!(handle.make(), answered);
        assert_eq!(refused, Err(Error::Refused("there is no room".into())));

        let root = PathBuf::from("/nowhere");
        let granted = async {
            wishes.wait_for(|wishes| wishes.open == 1).await.unwrap();
            handle.put(State::Mounted { root: root.clone() });
        };
        let (made, ()) = tokio::join!(handle.make(), granted);
        assert_eq!(made, Ok(root.clone()));
        assert_eq!(handle.make().await, Ok(root));
        assert_eq!(handle.free(), 0);
    }

    #[tokio::test]
    async fn free_is_what_the_file_system_says() {
        let (handle, folder) = (Handle::new(), tempfile::tempdir().unwrap());
        assert_eq!(handle.free(), 0);
        handle.put(State::Mounted { root: folder.path().into() });
        assert!(handle.free() > 0);
    }
}
