//! Whether this machine may open maintenance mode, in which strangers are served.
//!
//! Invariant: once META has said that the machine is configured it stays closed until the next boot, also when META goes
//! away and machined is restarted: a mark in /run remembers. This version reads no configuration, so a configured machine
//! opens no API at all. Built and run by `boot`; `server` obeys it.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::{events::Events, file, meta};

/// Why it is closed, and what to do.
const CONFIGURED: &str = "META says that this machine is configured, so strangers are not let in; this version of Stele \
                          cannot read the configuration: boot the version that was configured";

/// Whether strangers are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// They are: nobody has configured this machine.
    Open,
    /// They are not, for this reason.
    Closed(&'static str),
}

/// Decides, once now and again whenever a META comes.
#[derive(Debug)]
pub struct Door {
    meta: meta::Handle,
    /// A file in /run.
    mark: PathBuf,
    events: Events,
    shown: watch::Sender<Maintenance>,
}

impl Door {
    /// A door that is open unless META or the mark says otherwise already.
    pub fn new(meta: meta::Handle, mark: PathBuf, events: Events) -> Self {
        let first = if mark.exists() { Maintenance::Closed(CONFIGURED) } else { Maintenance::Open };
        let door = Self { meta, mark, events, shown: watch::Sender::new(first) };
        door.look();
        door
    }

    /// The answer now and every later one.
    pub fn watch(&self) -> watch::Receiver<Maintenance> {
        self.shown.subscribe()
    }

    /// Follows META for ever.
    pub async fn run(self) {
        let mut state = self.meta.watch();
        loop {
            self.look();
            if state.changed().await.is_err() {
                // Cannot be: `meta` holds the sender.
                return std::future::pending().await;
            }
        }
    }

    fn look(&self) {
        if *self.shown.borrow() != Maintenance::Open || !self.meta.record().configured {
            return;
        }
        self.shown.send_replace(Maintenance::Closed(CONFIGURED));
        self.events.error("api", CONFIGURED);
        if let Err(error) = file::replace(&self.mark, b"", 0o644) {
            // Closed all the same; the next machined asks META again.
            tracing::warn!("cannot remember that this machine is configured: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use reconcile::Store;

    use super::*;
    use crate::resources::Event;

    fn door(folder: &Path, meta: &meta::Handle, store: &Store) -> Door {
        let events = Events::open(store, folder.join("events")).unwrap();
        Door::new(meta.clone(), folder.join("configured"), events)
    }

    #[tokio::test]
    async fn it_closes_for_good_when_meta_comes_and_says_configured() {
        let folder = tempfile::tempdir().unwrap();
        let (meta, store) = (meta::Handle::new("boot"), Store::new());
        let opened = door(folder.path(), &meta, &store);
        let mut shown = opened.watch();
        assert_eq!(*shown.borrow(), Maintenance::Open);
        let come = async {
            meta.detach("another disk came, and it has no META");
            assert!(!shown.has_changed().unwrap(), "not configured: that is no reason");
            meta.update(|record| record.configured = true).await.unwrap();
            meta.detach("as if the disk had come");
            let within = Duration::from_secs(10);
            tokio::time::timeout(within, shown.changed()).await.unwrap().unwrap();
            assert_eq!(*shown.borrow(), Maintenance::Closed(CONFIGURED));
        };
        tokio::select! {
            () = opened.run() => unreachable!(),
            () = come => {}
        }
        let told: Vec<_> = store.list::<Event>();
        assert!(told.iter().any(|event| event.value.message == CONFIGURED), "{told:?}");

        // The next machined, whose disk is slow.
        let again = door(folder.path(), &meta::Handle::new("boot"), &Store::new());
        assert_eq!(*again.watch().borrow(), Maintenance::Closed(CONFIGURED));
    }

    #[tokio::test]
    async fn it_is_closed_from_the_start_when_meta_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let meta = meta::Handle::new("boot");
        meta.update(|record| record.configured = true).await.unwrap();
        assert_ne!(*door(folder.path(), &meta, &Store::new()).watch().borrow(), Maintenance::Open);
    }
}
