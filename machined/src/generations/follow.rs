//! The task that finds out what runs, tells init how it stands, and notes what the loader did while nobody else was there.

use std::path::PathBuf;
use std::time::Duration;

use ::boot::state::{Cause, Failure, Phase, Reject, State};
use sys::link::Standing;

use ::boot::entry::Which;

use super::{Handle, Running, View};
use crate::efi::Variables;
use crate::events::Events;
use crate::generations::running::{self, Known, Told};
use crate::image::Image;
use crate::link::Link;
use crate::trace::chain;
use crate::{blocking, meta, uptime};

/// init waits so long for the proof of a trial that has not told its deadlines yet, from the start of the machine.
const TRIAL_LEAST: Duration = Duration::from_secs(15 * 60);
/// And so long after the last deadline, for machined to give the trial up by itself.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// Without META by then the machine is what it is.
const META_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at the firmware's variables, whose module may still be missing.
const RETRY: Duration = Duration::from_millis(250);
/// For that module.
const EFI_WITHIN: Duration = Duration::from_secs(20);
/// A machine that was up for so long has come up: somebody can reach and mend it.
const UP_AFTER: Duration = Duration::from_secs(60);

/// The task.
#[derive(Debug)]
pub struct Follow {
    /// What it finds out goes here.
    pub handle: Handle,
    /// META.
    pub meta: meta::Handle,
    /// To init.
    pub link: Link,
    /// The log for people.
    pub events: Events,
    /// What runs.
    pub image: Image,
    /// Usually /sys.
    pub sys: PathBuf,
}

impl Follow {
    /// For ever.
    pub async fn run(self) {
        let mut state = self.meta.watch();
        let found = state.wait_for(|state| *state != meta::State::Waiting);
        // Without one the loader's word counts alone, until a META comes.
        let _ = tokio::time::timeout(META_WITHIN, found).await;
        let told = self.ask().await;
        self.decide(told.as_ref());
        self.tell(told.as_ref());
        let rest = async {
            if self.handle.view().state.is_none() && state.wait_for(is_known).await.is_ok() {
                self.decide(told.as_ref());
                self.tell(told.as_ref());
            }
            if state.wait_for(|state| matches!(state, meta::State::Attached { .. })).await.is_ok() {
                self.note().await;
                self.come_up().await;
            }
        };
        tokio::join!(self.tell_init(told.as_ref()), rest);
        std::future::pending().await
    }

    fn decide(&self, told: Option<&Told>) {
        self.handle.look();
        let record = self.meta.record();
        let which = record.boot.as_ref().and_then(|mark| match mark.generation {
            Some(number) => Some(Which::Generation(number)),
            None => mark.recovery.then_some(Which::Recovery),
        });
        let known = Known { boots: record.boots, which };
        self.handle.runs(running::decide(told, self.handle.view().state.as_ref(), known));
    }

    /// Asks the firmware until it answers.
    async fn ask(&self) -> Option<Told> {
        let variables = Variables::new(&self.sys);
        let ask = async {
            loop {
                let variables = variables.clone();
                match blocking::run(move || Told::read(&variables)).await {
                    Ok(told) => return told,
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
        };
        tokio::time::timeout(EFI_WITHIN, ask).await.ok()
    }

    /// init waits for a trial until its last deadline and a little more; what is no trial is settled. A trial that does not find its
    /// disk can prove nothing, and is none the less one.
    async fn tell_init(&self, told: Option<&Told>) {
        let lost = |view: &View| view.state.is_none() && told.is_some_and(|told| told.trial);
        let on_trial = |view: &View| view.trial().is_some() || lost(view);
        if !on_trial(&self.handle.view()) {
            // A link that broke ends machined anyway.
            let _ = self.link.standing(Standing::Settled).await;
            return;
        }
        let (mut view, mut until) = (self.handle.watch(), self.handle.until.subscribe());
        loop {
            let limit = TRIAL_LEAST.max(*until.borrow_and_update() + MARGIN);
            let left = limit.saturating_sub(Duration::from_millis(uptime::now_ms()));
            let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
            let _ = self.link.standing(Standing::Trial { seconds }).await;
            tokio::select! {
                Ok(()) = until.changed() => {}
                Ok(_) = view.wait_for(|view| !on_trial(view)) => break,
            }
        }
        let _ = self.link.standing(Standing::Settled).await;
    }

    /// What people should know about this start.
    fn tell(&self, told: Option<&Told>) {
        let view = self.handle.view();
        match (&view.running, view.trial()) {
            (Running::Generation(number), None) if view.state.is_none() && told.is_some_and(|told| told.trial) => {
                let why = format!("generation {number} runs on trial and does not find the disk it was started from");
                self.events.error("generation", format!("{why}; unless it comes the machine goes back by itself"));
            }
            (Running::Generation(number), Some(_)) => {
                self.events.info("generation", format!("generation {number} runs on trial"));
            }
            (Running::Generation(number), None) => {
                self.events.info("generation", format!("generation {number} runs"));
            }
            (Running::Recovery, _) => self.events.warn("generation", "this is the recovery system"),
            (Running::Foreign(why), _) => tracing::info!("no generation of the system disk runs: {why}"),
            (Running::Unknown, _) => {}
        }
        if let Some(why) = view.state.as_ref().and_then(|state| detour(&view, state)) {
            self.events.warn("generation", why);
        }
    }

    /// Writes down what this start was, and why trials failed that never came as far as machined.
    async fn note(&self) {
        let view = self.handle.view();
        let Some(state) = &view.state else { return };
        let record = self.meta.record();
        let known = |number| record.failed.iter().any(|failed| failed.generation == number);
        for generation in state.slots.iter().flatten() {
            let Phase::Failed(failure) = generation.phase else { continue };
            if known(generation.number) {
                continue;
            }
            let came = record.previous.as_ref().and_then(|mark| mark.generation) == Some(generation.number);
            let (why, phase) = reason(failure, came);
            self.events.error("generation", format!("generation {} failed: {why}", generation.number));
            self.handle.remember(generation, why, phase).await;
        }
        let number = view.generation().map(|generation| (generation.number, generation.uki.digest.to_string()));
        let (boots, version) = (state.boots, self.image.version.clone());
        let recovery = view.running == Running::Recovery;
        let slots = state.slots.iter().flatten().map(|one| one.uki);
        let kept: Vec<String> = slots.chain(state.recovery).map(|uki| uki.digest.to_string()).collect();
        let update = move |record: &mut meta::Record| {
            record.boots = Some(boots);
            if let Some((number, digest)) = number {
                record.versions.insert(digest, version);
                record.boot.get_or_insert_default().generation = Some(number);
            }
            record.boot.get_or_insert_default().recovery = recovery;
            record.versions.retain(|digest, _| kept.contains(digest));
        };
        if let Err(error) = self.meta.update(update).await {
            tracing::warn!("META does not keep which generation runs: {}", chain(&error));
        }
        self.handle.look_again();
    }

    /// Counts this start as one that came up, once it is.
    async fn come_up(&self) {
        tokio::time::sleep(UP_AFTER).await;
        let view = self.handle.view();
        let strikes = view.state.as_ref().is_some_and(|state| state.strikes > 0);
        let ours = matches!(view.running, Running::Generation(_) | Running::Recovery);
        if strikes
            && ours
            && let Err(error) = self.handle.up().await
        {
            tracing::warn!("META does not keep that this start came up: {}", chain(&error));
        }
    }
}

fn is_known(state: &meta::State) -> bool {
    matches!(state, meta::State::Read { .. } | meta::State::Attached { .. })
}

/// Why a trial failed, and how far it came. `came`: machined noted that it ran.
fn reason(failure: Failure, came: bool) -> (String, &'static str) {
    let tries = ::boot::state::TRIES;
    match failure {
        Failure::Tries if came => (format!("it was started {tries} times and was never proven"), "machined"),
        Failure::Tries => {
            let why = format!(
                "it was started {tries} times and never came as far as machined with its disk: kernel, initramfs or init \
                 failed, or the disk was not found, and without both nothing can keep a log"
            );
            (why, "loader")
        }
        Failure::File(reject) => (format!("its UKI was not started: {}", rejected(reject)), "loader"),
        Failure::Gate => ("it gave itself up, and META does not say why".into(), "machined"),
        Failure::Operator => ("it was rolled back".into(), "machined"),
        Failure::Other(code) => (format!("a later release knows why (code {code})"), "loader"),
    }
}

/// In words.
pub fn rejected(reject: Reject) -> &'static str {
    match reject {
        Reject::Missing => "the file is missing",
        Reject::Unreadable => "the disk could not be read",
        Reject::Length => "the file has another length than was recorded",
        Reject::Damaged => "the file is damaged: its SHA-256 is not the one that was recorded",
        Reject::Refused => "the firmware's Secure Boot refused it",
        Reject::Unloadable => "the firmware could not load it",
    }
}

/// Why this is not what should have been started.
fn detour(view: &View, state: &State) -> Option<String> {
    let chosen = state.chosen?;
    let current = state.current;
    let of_current = || {
        let slot = state.slots.iter().position(|slot| slot.is_some_and(|one| one.number == current))?;
        chosen.rejected.get(slot).copied().flatten()
    };
    let why = |reject: Option<Reject>| match reject {
        Some(reject) => rejected(reject).to_owned(),
        None => "it was started again and again and never came up".into(),
    };
    match (&view.running, chosen.cause) {
        (Running::Generation(number), Cause::Other) if *number != current => {
            Some(format!("generation {current} was not started: {}", why(of_current())))
        }
        (Running::Recovery, Cause::Last) => {
            Some(format!("no generation could be started; of generation {current}: {}", why(of_current())))
        }
        (Running::Recovery, Cause::Asked) => Some("recovery was asked for".into()),
        (Running::Generation(_), Cause::Stateless) => {
            Some("the boot state could not be used: the oldest proven generation was started".into())
        }
        _ => None,
    }
}
