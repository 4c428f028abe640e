//! Whether this machine may open maintenance mode, in which strangers are served.
//!
//! Invariant: it is open only when nothing says that the machine is, or is meant to be, configured: META was read and does not
//! say so (one that was never written says no), or there is no META to be read, and no disk's loader started this system; STATE holds no revision; and every source of a
//! first configuration holds nothing. What is still looked for, cannot be read (a META that is damaged, of another release, on
//! a disk that hangs) or is wrong keeps it closed: it may have said `configured`, and a stranger who can damage a disk must not
//! be let in by that. Of two disks that fit neither is read, and the machine is as one without.
//!
//! Once the machine was configured it stays closed until the next boot, also when its disk goes away and machined is restarted:
//! a mark in /run remembers. Built and run by `boot`; `offer` and `server` obey it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::configuration::Active;
use crate::generations::{self, Running};
use crate::platform::Verdict;
use crate::resources::config_status::State;
use crate::{events::Events, file, meta};

/// As long as it is not known whether there is a META.
const LOOKING: &str = "the system disk is still looked for, and it may say that this machine is configured";
/// As long as it is not known whether somebody has said what the machine should be.
const SOURCES: &str = "the sources of a first configuration are still looked at";
/// The condition has the reason and the remedy.
const UNREADABLE: &str = "META of the system disk cannot be read, so nobody knows whether this machine is configured, and \
                          strangers are not let in; the condition `system-disk` says why and what to do";
/// The loader of an installed disk started this.
const NO_DISK: &str = "the disk that this system was started from is not found, and it may say that this machine is configured; \
                       strangers are not let in: see the condition `system-disk`";
/// META and STATE went away since.
const GONE: &str = "this machine was configured in this boot, and what says so is gone; strangers are not let in";

/// Who is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// Strangers: nobody has configured this machine.
    Open,
    /// Those whom the configuration in effect lets in.
    Configured,
    /// The rescue at most, for this reason.
    Closed(Arc<str>),
}

impl Maintenance {
    /// What a new machined begins with: it has not looked yet.
    pub fn looking() -> Self {
        Self::Closed(LOOKING.into())
    }

    /// Whether this is an answer.
    pub fn is_decided(&self) -> bool {
        !matches!(self, Self::Closed(why) if [LOOKING, SOURCES].contains(&&**why))
    }
}

/// What the answer depends on.
#[derive(Debug)]
pub struct Signs {
    /// Whether it says `configured`.
    pub meta: meta::Handle,
    /// What runs, by the loader's word.
    pub generations: generations::Handle,
    /// What the engine of the configuration has found.
    pub active: watch::Receiver<Arc<Active>>,
    /// What the sources of a first configuration say.
    pub sources: watch::Receiver<Verdict>,
}

/// Decides, once now and again whenever one of the signs changes.
#[derive(Debug)]
pub struct Door {
    signs: Signs,
    /// A file in /run.
    mark: PathBuf,
    events: Events,
    shown: watch::Sender<Maintenance>,
}

impl Door {
    /// A door as the signs and the mark have it already.
    pub fn new(signs: Signs, mark: PathBuf, events: Events) -> Self {
        let mut door = Self { signs, mark, events, shown: watch::Sender::new(Maintenance::looking()) };
        door.look();
        door
    }

    /// The answer now and every later one.
    pub fn watch(&self) -> watch::Receiver<Maintenance> {
        self.shown.subscribe()
    }

    /// Follows the signs for ever.
    pub async fn run(mut self) {
        let (mut state, mut view) = (self.signs.meta.watch(), self.signs.generations.watch());
        loop {
            self.look();
            let Signs { active, sources, .. } = &mut self.signs;
            // A sender that is gone changes nothing any more.
            tokio::select! {
                Ok(()) = state.changed() => {}
                Ok(()) = view.changed() => {}
                Ok(()) = active.changed() => {}
                Ok(()) = sources.changed() => {}
                else => return std::future::pending().await,
            }
        }
    }

    fn look(&mut self) {
        let Signs { meta, generations, active, sources } = &mut self.signs;
        let (active, sources) = (active.borrow_and_update().clone(), sources.borrow_and_update().clone());
        let before = self.shown.borrow().clone();
        let record = meta.record();
        let facts = Facts {
            meta: meta.state(),
            running: generations.view().running.clone(),
            ambiguous: meta.is_ambiguous(),
            configured: record.configured,
            reset: record.due(meta.boot_id()).is_some(),
            state: active.state,
            why: &active.why,
            taking: active.taking,
            sources: &sources,
            marked: self.mark.exists(),
        };
        let now = decide(&facts, &before);
        // A machine that is being reset will not be configured any more in this boot.
        if (facts.configured || active.revision.is_some()) && !facts.marked && !facts.reset {
            // Without it: closed all the same; the next machined asks META again.
            if let Err(error) = file::replace(&self.mark, b"", 0o644) {
                tracing::warn!("cannot remember that this machine is configured: {error}");
            }
        }
        if now == before {
            return;
        }
        if let Maintenance::Closed(why) = &now
            && now.is_decided()
        {
            self.events.error("api", why.to_string());
        }
        self.shown.send_replace(now);
    }
}

struct Facts<'a> {
    meta: meta::State,
    running: Running,
    /// There is no META because there are several.
    ambiguous: bool,
    configured: bool,
    /// A reset is not done yet.
    reset: bool,
    state: State,
    why: &'a str,
    taking: bool,
    sources: &'a Verdict,
    marked: bool,
}

impl Facts<'_> {
    /// The loader of an installed disk started this, and that disk is not there. What was started from a disc, by the network, or
    /// by a kernel and an initramfs needs none.
    fn is_lost(&self) -> bool {
        matches!(self.meta, meta::State::Absent(_)) && !self.ambiguous && !matches!(self.running, Running::Foreign(_))
    }
}

fn decide(facts: &Facts<'_>, before: &Maintenance) -> Maintenance {
    let closed = |why: &str| Maintenance::Closed(why.into());
    match (facts.state, &facts.meta) {
        (State::Proving | State::Reached | State::Blessed, _) => Maintenance::Configured,
        (State::Unreadable, _) => {
            closed(&format!("this machine is configured, and its configuration cannot be read: {}", facts.why))
        }
        // The engine says when that takes too long; the rescue gets in then.
        _ if facts.reset => Maintenance::looking(),
        (_, meta::State::Unusable(_)) => closed(UNREADABLE),
        // Unplugging the disk whose META cannot be read opens nothing.
        (_, meta::State::Absent(_)) if *before == closed(UNREADABLE) => before.clone(),
        (State::Looking, _) | (_, meta::State::Waiting) => Maintenance::looking(),
        // As it is until the configuration is in effect: who brought it waits for the answer.
        (State::Unconfigured, _) if facts.taking => before.clone(),
        (State::Unconfigured, _) if facts.configured || facts.marked => closed(GONE),
        // A medium that was taken out after it was read closes nothing.
        (State::Unconfigured, _) if *before != Maintenance::Open && facts.is_lost() => {
            if facts.running == Running::Unknown { Maintenance::looking() } else { closed(NO_DISK) }
        }
        (State::Unconfigured, _) => match facts.sources {
            // An open door is not closed by another look; a wrong answer closes it.
            Verdict::Looking if *before == Maintenance::Open => Maintenance::Open,
            Verdict::Looking | Verdict::Taken(_) => closed(SOURCES),
            Verdict::Nothing => Maintenance::Open,
            Verdict::Wrong(why) => closed(why),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(meta: meta::State, state: State, sources: &'a Verdict) -> Facts<'a> {
        let running = Running::Foreign("a test".into());
        Facts {
            meta,
            running,
            ambiguous: false,
            configured: false,
            reset: false,
            state,
            why: "torn",
            taking: false,
            sources,
            marked: false,
        }
    }

    fn closed(why: &str) -> Maintenance {
        Maintenance::Closed(why.into())
    }

    #[test]
    fn it_opens_only_when_nothing_says_otherwise() {
        let device = PathBuf::from("/dev/vda2");
        let read = || meta::State::Read { device: device.clone() };
        let absent = || meta::State::Absent("no disk".into());
        let unusable = || meta::State::Unusable("damaged".into());
        let (nothing, looking, wrong) = (Verdict::Nothing, Verdict::Looking, Verdict::Wrong("a cloud-config".into()));
        let (start, unreadable) = (Maintenance::looking(), closed(UNREADABLE));
        for (meta, state, sources, before, wanted) in [
            (read(), State::Unconfigured, &nothing, &start, Maintenance::Open),
            (absent(), State::Unconfigured, &nothing, &start, Maintenance::Open),
            (read(), State::Unconfigured, &nothing, &unreadable, Maintenance::Open),
            (read(), State::Unconfigured, &looking, &start, closed(SOURCES)),
            (read(), State::Unconfigured, &looking, &Maintenance::Open, Maintenance::Open),
            (read(), State::Unconfigured, &wrong, &Maintenance::Open, closed("a cloud-config")),
            (read(), State::Looking, &nothing, &start, Maintenance::looking()),
            (meta::State::Waiting, State::Unconfigured, &nothing, &start, Maintenance::looking()),
            (unusable(), State::Unconfigured, &nothing, &start, unreadable.clone()),
            (unusable(), State::Unconfigured, &nothing, &Maintenance::Open, unreadable.clone()),
            (absent(), State::Unconfigured, &nothing, &unreadable, unreadable.clone()),
            (unusable(), State::Blessed, &nothing, &start, Maintenance::Configured),
            (read(), State::Proving, &looking, &start, Maintenance::Configured),
        ] {
            let these = facts(meta.clone(), state, sources);
            assert_eq!(decide(&these, before), wanted, "{meta:?} {state:?} {sources:?} {before:?}");
            if state == State::Unconfigured {
                for facts in [
                    Facts { configured: true, ..facts(meta.clone(), state, sources) },
                    Facts { marked: true, ..facts(meta, state, sources) },
                ] {
                    assert_ne!(decide(&facts, before), Maintenance::Open);
                }
            }
        }
        // A system whose own disk does not come.
        let ours = |running| Facts { running, ..facts(absent(), State::Unconfigured, &nothing) };
        for running in [Running::Generation(2), Running::Recovery] {
            assert_eq!(decide(&ours(running.clone()), &start), closed(NO_DISK));
            assert_eq!(decide(&ours(running), &Maintenance::Open), Maintenance::Open, "the stick was taken out");
        }
        assert_eq!(decide(&ours(Running::Unknown), &start), Maintenance::looking());
        assert_eq!(decide(&Facts { ambiguous: true, ..ours(Running::Recovery) }, &start), Maintenance::Open);
        // While the first configuration is kept META says so before it is in effect.
        for before in [Maintenance::Open, closed(SOURCES), closed("a cloud-config")] {
            let facts = facts(read(), State::Unconfigured, &nothing);
            let facts = Facts { taking: true, configured: true, marked: true, ..facts };
            assert_eq!(decide(&facts, &before), before);
        }
        // Whatever was wiped already: strangers come when all is done.
        let wiping = Facts { reset: true, ..facts(read(), State::Unconfigured, &nothing) };
        assert_eq!(decide(&wiping, &start), start);
        let lost = decide(&facts(read(), State::Unreadable, &nothing), &Maintenance::Configured);
        assert!(matches!(lost, Maintenance::Closed(why) if why.contains("torn")));
    }

    #[tokio::test]
    async fn it_closes_for_good_when_the_machine_is_configured() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("configured");
        let (meta, store) = (meta::Handle::new("boot"), reconcile::Store::new());
        let events = Events::open(&store, folder.path().join("events")).unwrap();
        meta.detach("no disk has META");
        let active = watch::Sender::new(Arc::new(Active::nothing(State::Unconfigured)));
        let sources = watch::Sender::new(Verdict::Nothing);
        let generations = generations::Handle::fixed(meta.clone(), Running::Foreign("a test".into()));
        let signs = || Signs {
            meta: meta.clone(),
            generations: generations.clone(),
            active: active.subscribe(),
            sources: sources.subscribe(),
        };
        let door = Door::new(signs(), mark.clone(), events.clone());
        let mut shown = door.watch();
        assert_eq!(*shown.borrow_and_update(), Maintenance::Open);
        let come = async {
            active.send_replace(Arc::new(Active { revision: Some(1), ..Active::nothing(State::Proving) }));
            shown.wait_for(|now| *now == Maintenance::Configured).await.unwrap();
        };
        tokio::select! {
            () = door.run() => unreachable!(),
            () = come => {}
        }
        // The next machined, whose disk is gone.
        active.send_replace(Arc::new(Active::nothing(State::Unconfigured)));
        assert_eq!(*Door::new(signs(), mark, events).watch().borrow(), closed(GONE));
    }
}
