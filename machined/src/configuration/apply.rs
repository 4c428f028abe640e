//! The commands: documents become a revision, an older revision becomes the current one.
//!
//! The order of a change, each step durable before the next, the answer after the last:
//!
//! ```text
//! first: STATE made -> certificate kept -> revision -> pointers -> META: configured       -> answer -> effect
//! later:                                   revision -> pointers                           -> answer -> effect
//! trial:                                   revision -> META: trial, time, boots -> pointers -> answer -> effect
//! ```
//! A power cut between two of them leaves what was before, or what was being written; a STATE with a current revision makes the
//! machine configured whatever META says.

use std::time::{SystemTime, UNIX_EPOCH};

use config::{Documents, Problem, Problems, Secrets};

use super::choice::{self, Run, Trial};
use super::effects;
use super::engine::{Engine, Loaded, load};
use super::error::Error;
use super::handle::{Apply, Listed, Mode, Outcome, Revert};
use super::lockout;
use super::revisions::{Draft, Id, Meta, Pointers, Revisions};
use super::trial::Running;
use crate::answered::Answered;
use crate::resources::config_status::State;
use crate::trace::chain;
use crate::{blocking, meta, stop};

/// What follows the answer.
pub(super) enum Then {
    /// Nothing.
    Rest,
    /// The revision comes into effect.
    Activate(Box<Loaded>),
    /// The machine starts anew.
    Reboot(Id),
}

/// Documents that are right, and what they change.
struct Plan {
    documents: Documents,
    secrets: Secrets,
    /// As they are kept.
    text: String,
    outcome: Outcome,
}

type Answer = (Result<Outcome, Error>, Then);

impl Engine {
    pub(super) async fn apply(&mut self, apply: Apply) -> Answer {
        match self.keep(apply).await {
            Ok((outcome, then)) => (Ok(outcome), then),
            Err(error) => (Err(error), Then::Rest),
        }
    }

    async fn keep(&mut self, apply: Apply) -> Result<(Outcome, Then), Error> {
        self.may_change(&apply)?;
        let plan = match self.plan(&apply) {
            Ok(plan) => plan,
            Err(problems) => {
                return Ok((Outcome { problems: Some(problems), ..Outcome::default() }, Then::Rest));
            }
        };
        if apply.dry_run {
            return Ok((plan.outcome, Then::Rest));
        }
        if self.active().revision.is_some() {
            if self.has_already(&plan, apply.mode).await {
                return Ok((plan.outcome, Then::Rest));
            }
            return self.keep_planned(plan, apply).await;
        }
        self.taking(true);
        let kept = async {
            self.make_room(&apply).await?;
            self.keep_planned(plan, apply).await
        };
        let kept = kept.await;
        match &kept {
            Ok((outcome, _)) => self.taken(outcome.revision),
            Err(_) => self.taking(false),
        }
        kept
    }

    /// Whether nothing would change, not a comment: the same texts are in effect and proven, and nothing else is staged. To
    /// keep them once more would only push older revisions out.
    async fn has_already(&mut self, plan: &Plan, mode: Mode) -> bool {
        let Pointers { current, staged, .. } = self.pointers();
        let Some(current) = current.filter(|_| self.active().state == State::Blessed && staged.is_none()) else {
            return false;
        };
        let wished = matches!(mode, Mode::Trial(_)) || mode == Mode::Reboot && !self.pending.list().is_empty();
        if wished {
            return false;
        }
        // To apply anew is what mends a damaged one.
        let kept = self.with(move |revisions| revisions.load(current)).await;
        kept.is_ok_and(|kept| kept.documents == plan.text && *kept.secrets == kept_form(&plan.secrets))
    }

    /// Makes the planned revision what counts, as the mode says.
    async fn keep_planned(&mut self, plan: Plan, apply: Apply) -> Result<(Outcome, Then), Error> {
        let Plan { documents, secrets, text, mut outcome } = plan;
        let (author, message) = (apply.author, apply.message);
        let kept_secrets = zeroize::Zeroizing::new(kept_form(&secrets));
        let names = secrets.secrets.keys().cloned().collect();
        let slots = self.parts.generations.view().state.map(|state| state.slots).unwrap_or_default();
        let wanted: Vec<Id> = slots.iter().flatten().map(|generation| generation.revision).collect();
        let meta = self
            .with(move |revisions| {
                revisions.add(&Draft {
                    wanted,
                    documents: &text,
                    secrets: &kept_secrets,
                    author: &author,
                    message: &message,
                    names,
                    created_unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
                })
            })
            .await?;
        outcome.revision = Some(meta.id);
        let then = self.point_to(meta, documents, secrets, apply.mode, &outcome).await?;
        Ok((outcome, then))
    }

    /// Whether the machine is in a state in which its configuration can change, by this caller.
    fn may_change(&self, apply: &Apply) -> Result<(), Error> {
        let active = self.active();
        if *self.parts.stop.watch().borrow() != stop::State::Running {
            return Err(Error::Stopping);
        }
        match active.state {
            State::Looking => return Err(Error::Looking(self.reason.clone())),
            _ if !apply.dry_run && self.may_settle(apply.force).is_err() => return self.may_settle(apply.force),
            // Checked here, where one comes after the other: the door was looked at when the call came in.
            _ if apply.first_only && active.state != State::Unconfigured => return Err(Error::Configured),
            State::Unconfigured if matches!(apply.mode, Mode::Trial(_) | Mode::Staged) => {
                return Err(Error::NothingToGoBackTo);
            }
            _ => {}
        }
        if let Some(trial) = &self.trial
            && !apply.dry_run
        {
            return Err(Error::Trial(trial.revision));
        }
        let Pointers { current, staged, .. } = self.pointers();
        let current = current.unwrap_or(0);
        match (apply.expected, staged) {
            (Some(expected), _) if expected != current => Err(Error::Conflict { current, expected }),
            // It was made from what is in effect: what is staged would be lost, and nobody had seen it.
            (Some(expected), Some(staged)) if expected != staged => Err(Error::Staged(staged)),
            _ => Ok(()),
        }
    }

    /// Parses and compares; nothing is written.
    fn plan(&self, apply: &Apply) -> Result<Plan, Problems> {
        let active = self.active();
        let stream = config::parse(&apply.documents)?;
        config::complete(&stream.documents)?;
        let mut have = Secrets::clone(&active.secrets);
        if let Some(text) = &apply.secrets {
            let given = config::parse(text).map_err(secrets_problems)?;
            have.secrets.extend(given.secrets.unwrap_or_default().secrets.clone());
        }
        let alone = stream.secrets.is_none();
        have.secrets.extend(stream.secrets.unwrap_or_default().secrets.clone());
        let secrets = have.named(&stream.documents.secrets()).map_err(|missing| {
            let message = |name: &String| {
                format!("the documents name the secret {name}, which was not given: apictl apply-config --secrets FILE")
            };
            Problems(missing.iter().map(|name| about_all(message(name))).collect())
        })?;
        lockout::check(&stream.documents, apply.way.as_ref())?;
        let changes = effects::changes(&active.documents, &stream.documents);
        // Secrets never lie among the documents.
        let text = if alone { apply.documents.clone() } else { config::format(&stream.documents) };
        let outcome = Outcome { changes, ..Outcome::default() };
        Ok(Plan { documents: stream.documents, secrets, text, outcome })
    }

    /// Before the first revision of all: a place for it, and META that can say so.
    async fn make_room(&mut self, apply: &Apply) -> Result<(), Error> {
        if let Some(certificate) = &apply.certificate {
            self.parts.node.check(certificate).await.map_err(|error| Error::Certificate(chain(&error)))?;
        }
        let root = self.parts.state.make().await.map_err(Error::State)?;
        match self.parts.meta.state() {
            meta::State::Attached { unsaved: None, .. } => {}
            meta::State::Attached { unsaved: Some(why), .. }
            | meta::State::Unusable(why)
            | meta::State::Absent(why) => return Err(Error::NoMeta(why)),
            meta::State::Waiting | meta::State::Read { .. } => {
                return Err(Error::NoMeta("the choice of the system disk is not final yet; try again".into()));
            }
        }
        if self.revisions.is_none() {
            self.revisions = Some(blocking::run(move || Revisions::open(&root)).await?);
        }
        if let Some(certificate) = &apply.certificate {
            self.parts.node.install(certificate).await.map_err(|error| Error::Certificate(chain(&error)))?;
        }
        Ok(())
    }

    /// Makes a kept revision what counts, as the mode says; durable when it returns.
    async fn point_to(
        &mut self,
        meta: Meta,
        documents: Documents,
        secrets: Secrets,
        mode: Mode,
        outcome: &Outcome,
    ) -> Result<Then, Error> {
        let id = meta.id;
        let loaded = Box::new(Loaded { meta, documents, secrets });
        let then = match mode {
            Mode::Staged => {
                self.stage(id).await?;
                Then::Rest
            }
            Mode::Reboot if self.active().revision.is_some() => {
                self.stage(id).await?;
                Then::Reboot(id)
            }
            Mode::Trial(within_s) => {
                let back = self.proven().ok_or(Error::NothingToGoBackTo)?;
                let boot = self.parts.meta.boot_id().to_owned();
                let trial = Trial { back, left_s: within_s, boots: choice::BOOTS, boot };
                self.must_count(Run { revision: id, attempts: 1, trial: Some(trial.clone()) }).await?;
                self.with(move |revisions| revisions.point(|now| (now.current, now.staged) = (Some(id), None))).await?;
                self.trial = Some(Running::new(id, &trial));
                Then::Activate(loaded)
            }
            Mode::Auto | Mode::Reboot => {
                self.with(move |revisions| revisions.point(|now| (now.current, now.staged) = (Some(id), None))).await?;
                // What counts is on STATE, and that is written.
                self.count(Some(Run { revision: id, attempts: 1, trial: None })).await;
                Then::Activate(loaded)
            }
        };
        if let Then::Activate(_) = then {
            self.pending.changed(&outcome.changes);
        }
        self.list().await;
        self.tell();
        Ok(then)
    }

    async fn stage(&mut self, id: Id) -> Result<(), Error> {
        let boot = self.parts.meta.boot_id().to_owned();
        let stage = move |now: &mut Pointers| (now.staged, now.staged_boot) = (Some(id), boot);
        Ok(self.with(move |revisions| revisions.point(stage)).await?)
    }

    /// As `count`, and an error when META does not keep it: without its record a trial would be none after a reboot.
    pub(super) async fn must_count(&mut self, run: Run) -> Result<(), Error> {
        let update = |record: &mut meta::Record| {
            record.run = Some(run);
            record.configured = true;
        };
        match self.parts.meta.update(update).await {
            Ok(meta::Saved::Disk) => Ok(()),
            Ok(meta::Saved::Memory) => {
                Err(Error::NoMeta("a trial is counted in META, and META is not there to be written".into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn go_on(&mut self, then: Then, answered: Answered) {
        match then {
            Then::Rest => {}
            Then::Activate(loaded) => {
                answered.wait().await;
                self.activate(*loaded).await;
            }
            Then::Reboot(id) => {
                answered.wait().await;
                let cause = format!("reboot into revision {id} of the configuration");
                self.parts.stop.request(stop::Request::new(stop::Action::Reboot, cause));
            }
        }
    }

    pub(super) async fn revert(&mut self, revert: Revert) -> Answer {
        match self.turn_back(revert).await {
            Ok((outcome, then)) => (Ok(outcome), then),
            Err(error) => (Err(error), Then::Rest),
        }
    }

    async fn turn_back(&mut self, revert: Revert) -> Result<(Outcome, Then), Error> {
        self.must_be_open()?;
        if !revert.dry_run {
            self.may_settle(revert.force)?;
        }
        let Pointers { current, blessed, before, .. } = self.pointers();
        let to = revert.to.or(blessed.filter(|id| Some(*id) != current)).or(before).ok_or(Error::NothingBefore)?;
        if revert.dry_run {
            let loaded = self.load(to).await?;
            let changes = effects::changes(&self.active().documents, &loaded.documents);
            return Ok((Outcome { changes, ..Outcome::default() }, Then::Rest));
        }
        // The way back from a trial is now.
        let waits = matches!(revert.mode, Mode::Staged | Mode::Reboot | Mode::Trial(_));
        if let Some(trial) = self.trial.as_ref().filter(|trial| trial.back != to || waits) {
            return Err(Error::Trial(trial.revision));
        }
        let Loaded { meta, documents, secrets } = self.load(to).await?;
        let changes = effects::changes(&self.active().documents, &documents);
        let outcome = Outcome { revision: Some(to), changes, problems: None };
        let then = self.point_to(meta, documents, secrets, revert.mode, &outcome).await?;
        if let Then::Activate(_) = then
            && !matches!(revert.mode, Mode::Trial(_))
        {
            self.trial = None;
            self.pending.gone();
            self.tell();
        }
        self.parts.events.info("config", format!("back to revision {to}, by {}", revert.author));
        Ok((outcome, then))
    }

    async fn load(&mut self, id: Id) -> Result<Loaded, Error> {
        self.with(move |revisions| {
            revisions.load(id)?;
            load(revisions, id).map_err(|why| Error::Revisions(super::revisions::Error::Damaged { id, why }))
        })
        .await
    }

    /// What a trial goes back to.
    fn proven(&self) -> Option<Id> {
        let Pointers { current, blessed, .. } = self.pointers();
        blessed.or(current.filter(|_| self.active().state == State::Blessed))
    }

    fn must_be_open(&self) -> Result<(), Error> {
        match (self.active().state, &self.revisions) {
            (State::Looking, _) => Err(Error::Looking(self.reason.clone())),
            (State::Unreadable, None) => Err(Error::Unreadable(self.reason.clone())),
            (_, None) => Err(Error::Unconfigured),
            (State::Unconfigured, _) => Err(Error::Unconfigured),
            (_, Some(_)) => Ok(()),
        }
    }

    pub(super) async fn history(&mut self) -> Result<(Pointers, Option<Id>, Vec<Listed>), Error> {
        self.must_be_open()?;
        let listed = self.listed().await?;
        Ok((self.pointers(), self.trial.as_ref().map(|trial| trial.revision), listed))
    }

    pub(super) async fn read(&mut self, id: Option<Id>) -> Result<(Meta, String), Error> {
        self.must_be_open()?;
        let id = id.or(self.active().revision).ok_or(Error::Unconfigured)?;
        let revision = self.with(move |revisions| revisions.load(id)).await?;
        Ok((revision.meta, revision.documents))
    }

    async fn listed(&mut self) -> Result<Vec<Listed>, Error> {
        let listed = self.with(|revisions| {
            let mut ids = revisions.ids()?;
            ids.reverse();
            let about = |id| Listed { id, meta: revisions.about(id).map_err(|error| chain(&error)) };
            Ok::<_, super::revisions::Error>(ids.into_iter().map(about).collect())
        });
        Ok(listed.await?)
    }

    /// Shows the revisions anew.
    pub(super) async fn list(&mut self) {
        match self.listed().await {
            Ok(listed) => {
                self.show.revisions(&self.pointers(), self.trial.as_ref().map(|trial| trial.revision), &listed);
            }
            Err(error) => tracing::warn!("the revisions cannot be listed: {}", chain(&error)),
        }
    }
}

/// As they lie on STATE.
fn kept_form(secrets: &Secrets) -> String {
    if secrets.secrets.is_empty() { String::new() } else { secrets.format() }
}

fn about_all(message: String) -> Problem {
    Problem { file: String::new(), document: 0, path: String::new(), line: 0, column: 0, message }
}

/// Places in the secrets are not places in the documents.
fn secrets_problems(problems: Problems) -> Problems {
    let about = |problem: Problem| about_all(format!("secrets: {problem}"));
    Problems(problems.0.into_iter().map(about).collect())
}
