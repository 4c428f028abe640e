//! A reset that was asked for in an earlier boot: what it names is wiped before anything of the volumes is used.
//!
//! ```text
//! due --META in use, drivers of all disks loaded--> EPHEMERAL wiped, STATE zeroed --> boot state: no revisions
//!  ^                                                                   |                       |
//!  \--after a pause, with the reason told------------------------------/        META: done, the identity forgotten
//!                                                                                              |
//!                                              switched off, or the volumes are looked for as ever
//! ```
//! Invariant: every step may be begun again, and is, at the next start, until META says that all is done: that is one write. As
//! long as it is due nothing is mounted or made, whoever wishes for it. A partition is wiped whatever it holds: that was asked
//! for by name.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boot::part::{EPHEMERAL, Kind, STATE};
use reconcile::{Cycle, CycleError};
use sys::direct::{self, Device};
use tokio::time::Instant;

use super::judge::Found;
use super::survey::{Survey, wipe};
use super::{Powers, RETRY, Stand, System, Volumes};
use crate::blocking;
use crate::meta::{self, Reset};
use crate::resources::condition::Condition;
use crate::resources::volume::Phase;
use crate::stop;
use crate::trace::chain;

/// What is zeroed at once: so small that the progress of a slow disk is seen.
const ZEROED: u64 = 8 << 20;
/// What is discarded at once; a disk that takes it does so quickly.
const DISCARDED: u64 = 4 << 30;
/// What to do about a failure.
const REMEDY: &str =
    "it is tried again every minute and at every start; if this stays, replace the disk, or install anew";

/// How a reset that is due stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// When it failed last, and why.
    failed: Option<(Instant, String)>,
    /// All is wiped, and the machine switches off.
    over: bool,
    /// All is wiped: what is shown of it goes with the next cycle.
    done: bool,
}

impl Progress {
    /// Until it is tried again.
    pub(super) fn pause(&self) -> Option<Duration> {
        let failed = self.failed.as_ref().map(|(at, _)| RETRY.saturating_sub(at.elapsed()));
        failed.or(self.done.then_some(Duration::ZERO))
    }
}

/// How a piece of the disk is wiped.
#[derive(Clone, Copy)]
enum How {
    /// Nothing of it may ever be read again.
    Zero,
    /// It is to look like nothing, and the disk may use it otherwise.
    Discard,
}

impl<P: Powers> Volumes<P> {
    /// One step; true: the volumes are not to be touched otherwise.
    pub(super) async fn keep_reset(&mut self, cx: &mut Cycle<'_>, system: &System) -> Result<bool, CycleError> {
        if self.reset.over {
            return Ok(true);
        }
        let Some(reset) = self.meta.record().due(self.meta.boot_id()).cloned() else {
            self.reset = Progress::default();
            self.leave_ephemeral();
            return Ok(false);
        };
        let name = match self.reset_on(system) {
            Ok(name) => name,
            Err(why) => {
                self.stand_reset(&reset, &format!("it waits: {why}"));
                return Ok(true);
            }
        };
        if self.reset.pause().is_some_and(|left| !left.is_zero()) {
            return Ok(true);
        }
        let what = reset.scope.name();
        self.events.warn("reset", format!("{what} is being wiped: {}", reset.cause));
        match self.do_reset(cx, &name, &reset).await? {
            Ok(()) => {
                self.reset = Progress { done: true, ..Progress::default() };
                self.stand_reset(&reset, "it is done");
                self.events.warn("reset", format!("{what} was wiped: {}", reset.cause));
                // What is on the disk now is looked at as after a start.
                (self.looked, self.unread, self.tried) = (None, None, None);
                if reset.off {
                    self.reset = Progress { over: true, ..Progress::default() };
                    self.stand_reset(&reset, "it is done, and the machine switches off");
                    let cause = format!("after the {}", reset.cause);
                    self.stop.request(stop::Request::new(stop::Action::PowerOff, cause));
                }
                Ok(true)
            }
            Err(why) => {
                let why = format!("a reset of {what} is not done: {why}; {REMEDY}");
                self.reset.failed = Some((Instant::now(), why.clone()));
                self.stand_reset(&reset, &why);
                Ok(true)
            }
        }
    }

    /// The disk that may be written to; or for what that waits.
    fn reset_on(&self, system: &System) -> Result<String, String> {
        let name = match system {
            System::Looking(why) | System::None(why) => return Err(why.clone()),
            System::Found { complete: Err(why), .. } => {
                self.handle.need_disks();
                return Err(why.clone());
            }
            System::Found { name, .. } => name,
        };
        match self.meta.state() {
            meta::State::Attached { unsaved: None, .. } => Ok(name.clone()),
            meta::State::Attached { unsaved: Some(why), .. } => Err(format!("META cannot be written: {why}")),
            _ => Err("META of the system disk is not in use yet".into()),
        }
    }

    /// Both volumes stand as the reset does.
    fn stand_reset(&mut self, reset: &Reset, how: &str) {
        let stand = match &self.reset.failed {
            Some((_, why)) => Stand::Unusable(why.clone()),
            None => Stand::Waiting(format!("a reset of {} comes first: {how}", reset.scope.name())),
        };
        (self.state, self.ephemeral) = (stand.clone(), stand);
    }

    /// Tells that there is something to do.
    pub(super) fn show_reset(&self, cx: &mut Cycle<'_>) -> Result<(), CycleError> {
        if let Stand::Waiting(why) | Stand::Unusable(why) = &self.state {
            cx.put::<Condition>(Condition::RESET, Condition::unmet(format!("reset: {why}")))?;
        }
        Ok(())
    }

    /// All of it; why not, in words.
    async fn do_reset(
        &mut self,
        cx: &mut Cycle<'_>,
        name: &str,
        reset: &Reset,
    ) -> Result<Result<(), String>, CycleError> {
        for on in [self.places.state.clone(), self.places.var.clone()] {
            if let Some(device) = self.powers.mounted(&on) {
                return Ok(Err(format!("{device} is mounted on {}: reboot", on.display())));
            }
        }
        let survey = match self.survey(name).await {
            Ok(survey) => survey,
            Err(error) => return Ok(Err(error.told())),
        };
        // What fails on one is no reason to leave secrets on the other.
        let mut failed = Vec::new();
        for (wanted, kind, found, how) in [
            (reset.scope.ephemeral, EPHEMERAL, &survey.ephemeral, How::Discard),
            (reset.scope.state, STATE, &survey.state, How::Zero),
        ] {
            for one in found.iter().filter(|_| wanted) {
                if let Err(error) = self.wipe(cx, &survey, kind, one, how).await? {
                    failed.push(format!("{}: {}", kind.name, chain(&error)));
                }
            }
        }
        if !failed.is_empty() {
            return Ok(Err(failed.join("; ")));
        }
        if reset.scope.state
            && let Err(error) = self.generations.forget_revisions().await
        {
            return Ok(Err(chain(&error)));
        }
        let (done, made) = (reset.clone(), !survey.ephemeral.is_empty());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let committed = self.meta.commit(move |record| record.reset_done(&done, made, now)).await;
        Ok(committed.map_err(|error| chain(&error)))
    }

    /// Wipes a partition, by the whole disk, so that none is left out that the kernel does not know.
    async fn wipe(
        &mut self,
        cx: &mut Cycle<'_>,
        survey: &Survey,
        kind: Kind,
        one: &Found,
        how: How,
    ) -> Result<Result<(), direct::Error>, CycleError> {
        let range = survey.disk.bytes(&one.entry);
        let device = survey.disk.device.clone();
        let file = match blocking::run(move || Device::read_write(&device)).await {
            Ok(file) => Arc::new(file),
            Err(error) => return Ok(Err(error)),
        };
        let step = match how {
            How::Zero => ZEROED,
            How::Discard => DISCARDED,
        };
        let mut told = None;
        for piece in pieces(&range, step) {
            // A line for each quarter.
            let quarter = (piece.start - range.start) * 4 / (range.end - range.start);
            if told.replace(quarter) != Some(quarter) {
                let what = format!("wiping {}, {} % done", kind.name, quarter * 25);
                tracing::info!("reset: {what}");
                self.show_phase(cx, kind.name, Phase::Wiping, &what)?;
                cx.put::<Condition>(Condition::RESET, Condition::unmet(format!("reset: {what}")))?;
            }
            let file = file.clone();
            let (at, len) = (piece.start, piece.end - piece.start);
            match how {
                How::Zero => {
                    if let Err(error) = blocking::run(move || file.zero(at, len)).await {
                        return Ok(Err(error));
                    }
                }
                How::Discard => match blocking::run(move || file.discard(at, len)).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    // It is not what the reset depends on.
                    Err(error) => {
                        tracing::warn!("{}", chain(&error));
                        break;
                    }
                },
            }
        }
        Ok(match how {
            How::Zero => Ok(()),
            How::Discard => blocking::run(move || wipe(&file, &range)).await,
        })
    }
}

fn pieces(range: &Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> + use<> {
    let end = range.end;
    (range.start..end)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .map(move |from| from..from.saturating_add(step).min(end))
}
