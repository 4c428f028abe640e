//! The task that owns the revisions: it decides at the start what runs, and obeys one command after the other.
//!
//! ```text
//! Looking --STATE and META say: never configured--> Unconfigured --first revision--\
//!    |------ a revision can be read ---------------------------------------------> Proving --own API reached--> Reached
//!    \------ configured, and none can be read --> Unreadable                         ^                            |
//!                                                     \--STATE came after all--------|--- next revision, trial ---+--> Blessed
//!                                                                                    |      over, revert          |      |
//!                                                                                    \----------------------------+------/
//! ```
//! Invariant: `revisions` is open in all states but the first two and Unreadable; what runs is what [`choice`] or a command
//! wrote down before.

use std::sync::Arc;
use std::time::Duration;

use reconcile::ClaimError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::active::Active;
use super::choice::{self, Run};
use super::ground::Held;
use super::handle::{Command, Handle};
use super::pending::Pending;
use super::prove::{Prove, Reach};
use super::revisions::{Id, Meta, Pointers, Revisions};
use super::show::Show;
use super::trial::Running;
use crate::events::Events;
use crate::pki::node;
use crate::platform::Wanted;
use crate::resources::config_status::State;
use crate::trace::chain;
use crate::{blocking, generations, meta, state, stop};

/// For STATE of a machine that is configured. Then the network comes up as without configuration, so that who holds the
/// rescue key gets in; a STATE that comes later still counts.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is found in the first seconds may be a disk that is only about to be seen again, after a restart of machined.
const EARLY: Duration = Duration::from_secs(5);
/// For META to be writable, before a revision runs that is not proven.
const META_WITHIN: Duration = Duration::from_secs(20);

/// What the engine works with.
pub struct Parts {
    /// Where documents and statuses are shown.
    pub store: reconcile::Store,
    /// The log for people.
    pub events: Events,
    /// What is counted before it runs.
    pub meta: meta::Handle,
    /// Where revisions are kept.
    pub state: state::Handle,
    /// The folder in /run: `configured` there marks that this boot's machine was.
    pub run: std::path::PathBuf,
    /// For revisions that come by a reboot.
    pub stop: stop::Handle,
    /// The node's certificate, which may come with the first revision.
    pub node: node::Handle,
    /// Asks the machine's own API the way a client does.
    pub reach: Reach,
    /// What runs, and what was proven with it.
    pub generations: generations::Handle,
    /// The recovery system runs, whoever started it.
    pub recovery: bool,
}

/// Runs until it is dropped.
pub struct Engine {
    pub(super) parts: Parts,
    commands: mpsc::Receiver<Command>,
    active: watch::Sender<Arc<Active>>,
    wanted: watch::Sender<Wanted>,
    pub(super) show: Show,
    pub(super) revisions: Option<Revisions>,
    pub(super) trial: Option<Running>,
    pub(super) prove: Option<Prove>,
    /// Why the state is what it is.
    pub(super) reason: String,
    pub(super) pending: Pending,
    /// Why revisions are left as they are, if they are.
    pub(super) held: Option<Held>,
    started: Instant,
}

/// A revision, parsed.
pub(super) struct Loaded {
    pub(super) meta: Meta,
    pub(super) documents: config::Documents,
    pub(super) secrets: config::Secrets,
}

/// Puts the parts together.
///
/// # Errors
/// Somebody else writes the types.
pub fn build(parts: Parts) -> Result<(Handle, Engine), ClaimError> {
    // One under way and a few that wait; a caller that comes on top waits to be heard.
    let (sender, commands) = mpsc::channel(8);
    let (active, watched) = watch::channel(Arc::new(Active::looking()));
    let (wanted, watched_wanted) = watch::channel(Wanted::Unknown);
    let show = Show::new(&parts.store)?;
    let pending = Pending::load(parts.run.join("pending-reboot"));
    let held = parts.recovery.then_some(Held::Recovery);
    let engine = Engine {
        parts,
        commands,
        active,
        wanted,
        show,
        revisions: None,
        trial: None,
        prove: None,
        reason: "the system disk is looked for".into(),
        pending,
        held,
        started: Instant::now(),
    };
    engine.tell();
    Ok((Handle { commands: sender, active: watched, wanted: watched_wanted }, engine))
}

impl Engine {
    /// For ever.
    pub async fn run(mut self) {
        let (mut state, mut meta) = (self.parts.state.watch(), self.parts.meta.watch());
        let mut generations = self.parts.generations.watch();
        self.look().await;
        loop {
            let waited = if self.started.elapsed() < EARLY { EARLY } else { PATIENCE };
            let patience = self.started + waited;
            let looking = self.active.borrow().state == State::Looking;
            tokio::select! {
                Some(command) = self.commands.recv() => self.obey(command).await,
                Ok(()) = state.changed() => self.look().await,
                Ok(()) = meta.changed() => self.look().await,
                Ok(()) = generations.changed() => self.look_at_generation(),
                () = tokio::time::sleep_until(patience), if looking && Instant::now() < patience => self.look().await,
                () = Running::tick(&mut self.trial) => self.trial_tick().await,
                answer = Prove::next(&mut self.prove) => self.proved(answer).await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        // Who asked may have gone: what was begun is done all the same.
        match command {
            Command::Apply(apply, reply) => {
                let answered = apply.answered.clone();
                let (answer, then) = self.apply(*apply).await;
                let _ = reply.send(answer);
                self.go_on(then, answered).await;
            }
            Command::Revert(revert, reply) => {
                let answered = revert.answered.clone();
                let (answer, then) = self.revert(revert).await;
                let _ = reply.send(answer);
                self.go_on(then, answered).await;
            }
            Command::Confirm(id, reply) => drop(reply.send(self.confirm(id).await)),
            Command::History(reply) => drop(reply.send(self.history().await)),
            Command::Read(id, reply) => drop(reply.send(self.read(id).await)),
        }
    }

    /// What is in effect.
    pub(super) fn active(&self) -> Arc<Active> {
        self.active.borrow().clone()
    }

    /// Looks at META and STATE until revisions are open.
    async fn look(&mut self) {
        if self.revisions.is_some() {
            return;
        }
        let (meta, record) = (self.parts.meta.state(), self.parts.meta.record());
        // Earlier in this boot it was, whatever its disks say now.
        let configured = record.configured || self.parts.run.join("configured").exists();
        if meta == meta::State::Waiting {
            return;
        }
        let unsure = matches!(meta, meta::State::Unusable(_));
        if record.due(self.parts.meta.boot_id()).is_some() {
            return self.look_at_reset();
        }
        match self.parts.state.state() {
            state::State::Mounted { root } => match blocking::run(move || Revisions::open(&root)).await {
                Ok(revisions) => {
                    let any = revisions.pointers().current.or(revisions.pointers().staged).is_some();
                    self.revisions = Some(revisions);
                    if any {
                        self.start().await;
                    } else if configured || unsure {
                        self.revisions = None;
                        self.unreadable("STATE holds no revision, though META says that there was one".into());
                    } else {
                        self.unconfigured();
                    }
                }
                Err(error) => self.unreadable(chain(&error)),
            },
            state::State::None(_) | state::State::Unusable(_)
                if (configured || unsure) && self.started.elapsed() < EARLY => {}
            state::State::None(why) | state::State::Unusable(why) if configured || unsure => self.unreadable(why),
            state::State::None(_) | state::State::Unusable(_) => self.unconfigured(),
            state::State::Waiting if self.started.elapsed() >= PATIENCE && (configured || unsure) => {
                self.unreadable(format!("STATE did not come within {} s", PATIENCE.as_secs()));
            }
            state::State::Waiting => {}
        }
    }

    /// Nothing of STATE is used before the reset is done. Who holds the rescue key gets in when that fails or takes long.
    fn look_at_reset(&mut self) {
        match self.parts.state.state() {
            state::State::Unusable(why) => self.unreadable(why),
            _ if self.started.elapsed() >= PATIENCE => {
                self.unreadable("a reset of this machine is being done: apictl get volumes".into());
            }
            _ => {
                "a reset of this machine is being done".clone_into(&mut self.reason);
                self.tell();
            }
        }
    }

    fn unconfigured(&mut self) {
        self.reason = "nobody has configured this machine yet".into();
        self.active.send_replace(Arc::new(Active::nothing(State::Unconfigured)));
        self.wanted.send_replace(Wanted::Yes);
        self.tell();
    }

    fn unreadable(&mut self, why: String) {
        if self.reason != why || self.active().state != State::Unreadable {
            self.parts.events.error("config", format!("the configuration cannot be read: {why}"));
        }
        self.reason.clone_from(&why);
        self.active.send_replace(Arc::new(Active { why, ..Active::nothing(State::Unreadable) }));
        self.wanted.send_replace(Wanted::No("this machine is configured".into()));
        self.tell();
    }

    /// Chooses what runs, writes that down, and puts it into effect.
    async fn start(&mut self) {
        self.settle_generation().await;
        if self.held.is_some() {
            return self.start_held().await;
        }
        let run = self.parts.meta.record().run;
        let boot = self.parts.meta.boot_id().to_owned();
        let pointers = self.pointers();
        let proven = pointers.blessed.is_some() && pointers.blessed == pointers.current && pointers.staged.is_none();
        if !proven {
            let mut meta = self.parts.meta.watch();
            let writable = meta.wait_for(|state| !matches!(state, meta::State::Waiting | meta::State::Read { .. }));
            if tokio::time::timeout(META_WITHIN, writable).await.is_err() {
                tracing::warn!("META is not writable: starts of the unproven revision are not counted");
            }
        }
        let choice = self
            .with(move |revisions| {
                choice::choose(revisions.pointers(), run.as_ref(), &boot, |id| load(revisions, id).err())
            })
            .await;
        let Some(id) = choice.revision else {
            self.revisions = None;
            self.unreadable("no revision on STATE can be used any more; apply the configuration anew".into());
            return;
        };
        if choice.pointers.given_up != pointers.given_up {
            self.pending.gone();
            self.parts.events.error("config", &choice.pointers.given_up);
        }
        self.count(choice.run).await;
        self.point(choice.pointers).await;
        self.resume_trial();
        match self.with(move |revisions| load(revisions, id)).await {
            Ok(loaded) => self.activate(loaded).await,
            Err(why) => self.unreadable(why),
        }
    }

    /// Puts what is current into effect, and decides nothing.
    async fn start_held(&mut self) {
        let Pointers { current, staged, .. } = self.pointers();
        let Some(id) = current.or(staged) else { return };
        match self.with(move |revisions| load(revisions, id)).await {
            Ok(loaded) => self.activate(loaded).await,
            Err(why) => {
                self.revisions = None;
                self.unreadable(format!("revision {id} cannot be used by this version: {why}"));
            }
        }
    }

    /// Writes to META what is about to run, when it differs from what it says.
    pub(super) async fn count(&mut self, run: Option<Run>) {
        let record = self.parts.meta.record();
        if self.held.is_some() || record.run == run && record.configured {
            return;
        }
        let update = |record: &mut meta::Record| {
            record.run = run;
            record.configured = true;
        };
        if let Err(error) = self.parts.meta.update(update).await {
            tracing::warn!("META does not count the starts of the configuration: {}", chain(&error));
        }
    }

    /// As far as STATE can be written; what runs does not depend on it.
    async fn point(&mut self, pointers: Pointers) {
        if let Err(error) = self.with(move |revisions| revisions.point(|now| *now = pointers)).await {
            self.parts.events.error("config", format!("STATE does not keep what was decided: {}", chain(&error)));
        }
    }

    /// Puts a revision into effect.
    pub(super) async fn activate(&mut self, loaded: Loaded) {
        let Loaded { meta, documents, secrets } = loaded;
        let rescue = documents.of::<config::kinds::Api>().find_map(|(_, api)| api.rescue.clone());
        if rescue.is_some() && self.parts.meta.record().rescue != rescue {
            let kept = self.parts.meta.update(|record| record.rescue = rescue).await;
            if let Err(error) = kept {
                tracing::warn!("META does not keep the rescue authority: {}", chain(&error));
            }
        }
        self.show.documents(meta.id, &documents);
        let (documents, secrets) = (Arc::new(documents), Arc::new(secrets));
        self.reason = "the machine has not reached its own API with it yet".into();
        self.wanted.send_replace(Wanted::No(format!("revision {}", meta.id)));
        self.active.send_replace(Arc::new(Active {
            state: State::Proving,
            revision: Some(meta.id),
            documents,
            why: String::new(),
            secrets,
            taking: false,
        }));
        let proven = self.pointers().blessed == Some(meta.id);
        self.prove = Some(Prove::new(self.parts.reach.clone(), proven));
        self.parts.events.info("config", format!("revision {} is in effect, by {}", meta.id, meta.author));
        self.tell();
        self.list().await;
    }

    /// Whether the first configuration is being kept. Nobody else is to bring another meanwhile.
    pub(super) fn taking(&self, taking: bool) {
        self.active.send_modify(|active| *active = Arc::new(Active { taking, ..(**active).clone() }));
    }

    /// The first configuration is kept; it comes into effect once that is answered.
    pub(super) fn taken(&self, revision: Option<super::revisions::Id>) {
        self.wanted.send_replace(Wanted::No(format!("revision {}", revision.unwrap_or_default())));
    }

    /// Another state of the same revision.
    pub(super) fn become_state(&mut self, state: State, reason: String) {
        self.reason = reason;
        self.active.send_if_modified(|active| {
            let changed = active.state != state;
            if changed {
                *active = Arc::new(Active { state, ..(**active).clone() });
            }
            changed
        });
        self.tell();
    }

    pub(super) fn pointers(&self) -> Pointers {
        self.revisions.as_ref().map(|revisions| revisions.pointers().clone()).unwrap_or_default()
    }

    /// Blocking work with the revisions, which must be open.
    pub(super) async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Revisions) -> T + Send + 'static,
    ) -> T {
        let Some(mut revisions) = self.revisions.take() else {
            unreachable!("callers have looked: the revisions are open");
        };
        let (revisions, done) = blocking::run(move || {
            let done = work(&mut revisions);
            (revisions, done)
        })
        .await;
        self.revisions = Some(revisions);
        done
    }

    /// Shows the status.
    pub(super) fn tell(&self) {
        self.show.status(&self.active(), &self.pointers(), self.trial.as_ref(), &self.reason, &self.pending.list());
    }
}

/// Reads and parses a revision; why not, in words. Blocking.
pub(super) fn load(revisions: &Revisions, id: Id) -> Result<Loaded, String> {
    let revision = revisions.load(id).map_err(|error| chain(&error))?;
    let stream = config::parse(&revision.documents).map_err(|problems| problems.to_string())?;
    config::complete(&stream.documents).map_err(|problems| problems.to_string())?;
    let secrets = if revision.secrets.is_empty() {
        config::Secrets::default()
    } else {
        let kept = config::parse(&revision.secrets).map_err(|problems| format!("its secrets: {problems}"))?;
        kept.secrets.unwrap_or_default()
    };
    Ok(Loaded { meta: revision.meta, documents: stream.documents, secrets })
}
