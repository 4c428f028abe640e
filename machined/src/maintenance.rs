//! Whether this machine may open maintenance mode, in which strangers are served.
//!
//! Invariant: it is open only when META was read and does not say that the machine is configured (one that was never written
//! says so too), or when there is no META to be read. A META that is there and cannot be read (damaged, of another release, on a
//! disk that hangs) keeps it closed: it may have said `configured`, and a stranger who can damage a disk must not be let in by
//! that. So does one that is still looked for. Of two disks that fit neither is read, and the machine is as one without.
//!
//! Once META has said `configured` it stays closed until the next boot, also when META goes away and machined is restarted: a
//! mark in /run remembers. This version reads no configuration, so a configured machine opens no API at all. Built and run by
//! `boot`; `server` obeys it.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::{events::Events, file, meta};

/// Why it is closed, and what to do.
const CONFIGURED: &str = "META says that this machine is configured, so strangers are not let in; this version of Stele \
                          cannot read the configuration: boot the version that was configured";

/// As long as it is not known whether there is a META.
const LOOKING: &str = "the system disk is still looked for, and it may say that this machine is configured";
/// The condition has the reason and the remedy.
const UNREADABLE: &str = "META of the system disk cannot be read, so nobody knows whether this machine is configured, and \
                          strangers are not let in; the condition `system-disk` says why and what to do";

/// Whether strangers are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// They are: nobody has configured this machine.
    Open,
    /// They are not, for this reason.
    Closed(&'static str),
}

impl Maintenance {
    /// What a new machined begins with: it has not looked yet.
    pub const LOOKING: Self = Self::Closed(LOOKING);

    /// Whether this is an answer.
    pub fn is_decided(&self) -> bool {
        *self != Self::LOOKING
    }
}

/// Decides, once now and again whenever the state of META changes.
#[derive(Debug)]
pub struct Door {
    meta: meta::Handle,
    /// A file in /run.
    mark: PathBuf,
    events: Events,
    shown: watch::Sender<Maintenance>,
}

impl Door {
    /// A door as META and the mark have it already.
    pub fn new(meta: meta::Handle, mark: PathBuf, events: Events) -> Self {
        let first = Maintenance::Closed(if mark.exists() { CONFIGURED } else { LOOKING });
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
        let before = *self.shown.borrow();
        let now = decide(&self.meta.state(), self.meta.record().configured, before);
        if now == before {
            return;
        }
        self.shown.send_replace(now);
        match now {
            Maintenance::Closed(UNREADABLE) => self.events.error("api", UNREADABLE),
            Maintenance::Closed(CONFIGURED) => {
                self.events.error("api", CONFIGURED);
                if let Err(error) = file::replace(&self.mark, b"", 0o644) {
                    // Closed all the same; the next machined asks META again.
                    tracing::warn!("cannot remember that this machine is configured: {error}");
                }
            }
            _ => {}
        }
    }
}

fn decide(state: &meta::State, configured: bool, before: Maintenance) -> Maintenance {
    match (before, state) {
        (Maintenance::Closed(CONFIGURED), _) => before,
        _ if configured => Maintenance::Closed(CONFIGURED),
        (_, meta::State::Waiting) => Maintenance::Closed(LOOKING),
        (_, meta::State::Unusable(_)) => Maintenance::Closed(UNREADABLE),
        // Unplugging the disk whose META cannot be read opens nothing.
        (Maintenance::Closed(UNREADABLE), meta::State::Absent(_)) => before,
        (_, meta::State::Absent(_) | meta::State::Read { .. } | meta::State::Attached { .. }) => Maintenance::Open,
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
        meta.detach("no disk has META");
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

    #[test]
    fn only_a_meta_that_was_read_or_none_at_all_opens_it() {
        let device = std::path::PathBuf::from("/dev/vda2");
        let (looking, unreadable) = (Maintenance::Closed(LOOKING), Maintenance::Closed(UNREADABLE));
        let read = meta::State::Read { device: device.clone() };
        let attached = meta::State::Attached { device, unsaved: None };
        let absent = meta::State::Absent("no disk".into());
        let unusable = meta::State::Unusable("damaged".into());
        for (state, before, wanted) in [
            (&meta::State::Waiting, looking, looking),
            (&absent, looking, Maintenance::Open),
            (&read, looking, Maintenance::Open),
            (&attached, unreadable, Maintenance::Open),
            (&unusable, looking, unreadable),
            (&unusable, Maintenance::Open, unreadable),
            (&absent, unreadable, unreadable),
        ] {
            assert_eq!(decide(state, false, before), wanted, "{state:?} {before:?}");
            assert_eq!(decide(state, true, before), Maintenance::Closed(CONFIGURED));
        }
    }

    #[tokio::test]
    async fn a_blank_meta_opens_it_and_a_damaged_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let device = meta::tests::fresh(folder.path());
        let (blank, store) = (meta::Handle::new("boot"), Store::new());
        let opened = door(folder.path(), &blank, &store);
        assert_eq!(*opened.watch().borrow(), Maintenance::Closed(LOOKING));
        blank.read(&device).await.unwrap();
        opened.look();
        assert_eq!(*opened.watch().borrow(), Maintenance::Open);

        let (damaged, store) = (meta::Handle::new("boot"), Store::new());
        std::fs::write(&device, vec![0; 1 << 20]).unwrap();
        damaged.read(&device).await.unwrap_err();
        assert_eq!(*door(folder.path(), &damaged, &store).watch().borrow(), Maintenance::Closed(UNREADABLE));
        assert!(store.list::<Event>().iter().any(|event| event.value.message == UNREADABLE));
    }
}
