//! Changing what a node should be: what `apply-config`, `patch`, `edit` and `config revert` share.
//!
//! ```text
//! documents, checked here ──▶ first time? ask for the node's request, sign it ──▶ Apply ──▶ durable: the answer
//!                                                          on trial: Confirm ◀── in effect ◀── follow on the new path
//! ```
//! Invariant: a node gets only the secrets that its documents name, and only when it is sure which node it is; what was
//! answered is durable, so leaving early changes nothing.

mod ask;
mod first;
mod follow;
mod modify;
mod print;
mod status;
mod way_in;

use std::time::Duration;

use api::v1::{ApplyMode, ApplyResponse};
use clap::ValueEnum;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use self::follow::Goal;
pub(crate) use self::{
    first::{YEAR, names},
    modify::{id, modify, read, source},
    print::{diff as lines, revision},
};
use crate::{
    bundle::Bundle,
    enlist,
    exit::{Code, Failure, Result},
    node::App,
    source::Source,
    target::Target,
};

/// Longer than a node takes at most to make a disk: its own refusal says more than "no answer".
const ACCEPT_WITHIN: Duration = Duration::from_secs(330);

/// A configuration is in effect within seconds; disks and slow links take longer.
const EFFECT_WITHIN: Duration = Duration::from_secs(300);

/// With a restart through firmware.
const REBOOT_WITHIN: Duration = Duration::from_secs(600);

/// When `--mode trial` says no time of its own.
const TRIAL: Duration = Duration::from_secs(120);

/// For a node that was not reached on trial to be back on what it ran before.
const BACK: Duration = Duration::from_secs(90);

/// A change of documents: how it comes into effect, and why it is made.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) when: When,
    /// Why; kept with the revision
    #[arg(long, short, default_value = "", hide_default_value = true)]
    pub(crate) message: String,
}

/// How a change comes into effect.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct When {
    /// When it comes into effect: auto (now), staged (with the next boot), reboot (now, by one), trial (now, and back by
    /// itself unless it is confirmed)
    #[arg(long, value_enum, value_name = "MODE", hide_possible_values = true)]
    pub(crate) mode: Option<Mode>,
    /// How long a trial waits for its confirmation [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = crate::cli::duration)]
    pub(crate) confirm_within: Option<Duration>,
    /// Leave a trial unconfirmed; without this it is confirmed once the node is reached anew
    #[arg(long)]
    pub(crate) no_confirm: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Return once the change is durable, before it is in effect
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Also while a new version of the system is on trial; the change is lost if that goes back
    #[arg(long)]
    pub(crate) force: bool,
}

/// As `--mode` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Auto,
    Staged,
    Reboot,
    Trial,
}

impl When {
    /// The mode, with the seconds of a trial.
    fn mode(&self) -> Result<(ApplyMode, u32)> {
        let within = self.confirm_within;
        let mode = self.mode.unwrap_or(if within.is_some() { Mode::Trial } else { Mode::Auto });
        if mode != Mode::Trial && (within.is_some() || self.no_confirm) {
            return Err(Failure::usage("only a trial is confirmed", "leave out --confirm-within and --no-confirm"));
        }
        let seconds = u32::try_from(within.unwrap_or(TRIAL).as_secs()).unwrap_or(u32::MAX);
        Ok(match mode {
            Mode::Auto => (ApplyMode::Auto, 0),
            Mode::Staged => (ApplyMode::Staged, 0),
            Mode::Reboot => (ApplyMode::Reboot, 0),
            Mode::Trial => (ApplyMode::Trial, seconds),
        })
    }

    fn goal(&self, mode: ApplyMode) -> Goal {
        match mode {
            ApplyMode::Trial if self.no_confirm => Goal::Trial,
            ApplyMode::Trial => Goal::Confirmed,
            _ => Goal::Proven,
        }
    }
}

/// What is changed.
pub(crate) enum Change<'a> {
    /// These documents become the next revision, made from this one (0: whichever).
    Documents { source: &'a Source, secrets: Option<&'a Bundle>, expected: u64 },
    /// An older revision becomes the current one (0: the one that was proven before).
    Revert(u64),
}

/// Changes nodes, all at the same time, and prints what came of it.
pub(crate) async fn run(app: &App, jobs: &[(Target, Change<'_>)], options: &Options) -> Result {
    let format = print::format(app)?;
    options.when.mode()?;
    for (_, change) in jobs {
        if let Change::Documents { source, .. } = change {
            source.check_complete()?;
        }
    }
    let all = join_all(jobs.iter().map(|(target, change)| single(app, target, change, options))).await;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for ((target, _), result) in jobs.iter().zip(all) {
        match result {
            Ok(outcome) => done.push((target.name.as_str(), outcome)),
            Err(failure) => failed.push(failure.at(&target.name)),
        }
    }
    print::outcomes(&done, jobs.len() > 1, format)?;
    Failure::all(failed)
}

/// What can be wrong with a first configuration and is known before the node is asked: secrets, the way back in.
pub(crate) fn check_first(source: &Source, bundle: Option<&Bundle>, target: &Target) -> Result {
    first::secrets(source, bundle, target, true)?;
    first::reached_by(source, bundle, target).map(drop)
}

/// What came of it on one node.
pub(crate) struct Outcome {
    answer: ApplyResponse,
    dry_run: bool,
    /// Where it ended: "in effect and proven".
    state: String,
    /// Of a dry run: the lines that change.
    diff: String,
}

/// Changes one node; prints nothing but how far it is.
pub(crate) async fn single(app: &App, target: &Target, change: &Change<'_>, options: &Options) -> Result<Outcome> {
    let (mode, confirm_within_s) = options.when.mode()?;
    let started = Instant::now();
    let asked = ask::ask(app, target, change, options, (mode, confirm_within_s));
    let limit = app.global.timeout.map_or(ACCEPT_WITHIN, |limit| limit.min(ACCEPT_WITHIN));
    let late =
        || Failure::new(Code::Deadline, format!("no answer within {limit:?}"), "ask again: apictl config history");
    let asked = app.ui.slow(&format!("asking {}", target.name), timeout(limit, asked)).await;
    let (answer, after) = asked.unwrap_or_else(|_| Err(late()))?;
    let dry_run = options.when.dry_run;
    let outcome = |answer, state: &str| Outcome { answer, dry_run, state: state.to_owned(), diff: String::new() };
    if dry_run {
        let diff = ask::diff(app, target, change).await?;
        return Ok(Outcome { diff, ..outcome(answer, "nothing was changed") });
    }
    let revision = answer.revision;
    if revision == 0 {
        return Ok(outcome(answer, "as it was: nothing changes"));
    }
    // It is durable: whatever becomes of the wait, the node shows another certificate from now on.
    if after.pin != target.pin && enlist::signed(&app.global, &target.endpoint)? {
        app.ui.note(&format!("{}: from now on recognised by its authority, no more by its fingerprint", target.name));
    }
    app.ui.note(&format!("{}: revision {revision} is kept", target.name));
    if mode == ApplyMode::Staged {
        return Ok(outcome(answer, "comes into effect with the next boot"));
    }
    if options.when.no_wait {
        return Ok(outcome(answer, "kept; not waited for"));
    }
    let usual = match mode {
        ApplyMode::Reboot => REBOOT_WITHIN,
        ApplyMode::Trial => Duration::from_secs(confirm_within_s.into()) + BACK,
        _ => EFFECT_WITHIN,
    };
    let deadline = started + app.global.timeout.unwrap_or(usual);
    let state = follow::until_in_effect(app, &after, revision, options.when.goal(mode), deadline).await?;
    Ok(outcome(answer, &state))
}
