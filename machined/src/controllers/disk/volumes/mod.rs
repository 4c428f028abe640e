//! The controller of STATE and EPHEMERAL: finds, checks and mounts them at boot; makes them when somebody wants to configure;
//! lets EPHEMERAL grow with its disk.
//!
//! ```text
//! (a reset that is due goes before: see `reset`)
//! STATE       looked for --ours--> checked --> mounted         EPHEMERAL   (STATE mounted) --> made or found --> mounted
//!               |    |               |            ^                                                      |
//!               |    \--bad----------+--> unusable |                                            grown, at every boot
//!               \--missing, half--> a wish --> made
//! ```
//! Invariant: nothing is written before the drivers of all disks are loaded, the table is not changed before the choice of the
//! disk is final, and nothing is made in the place of what somebody may want back (`judge`). A check is only ever run on what
//! is not mounted. A machined that was restarted finds what is mounted and leaves it.

mod ephemeral;
mod format;
mod judge;
mod make;
mod powers;
mod reset;
mod room;
mod show;
mod state;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::sync::watch;
use tokio::time::Instant;

pub(super) use self::powers::{Powers, Real};
use super::host::Host;
use crate::events::Events;
use crate::resources::coldplug::Coldplug;
use crate::resources::condition::Condition;
use crate::resources::disk::Disk;
use crate::resources::system_disk::{self, SystemDisk};
use crate::resources::volume::Volume;
use crate::resources::wait::Wait;
use crate::state::{Handle, Wishes};
use crate::{generations, meta, stop, uptime};

/// How often it is looked how full they are, and whether the kernel has made one read-only.
const LOOK: Duration = Duration::from_secs(60);
/// Before EPHEMERAL is tried again, or a STATE that could not be read: a path to a disk may come back.
const RETRY: Duration = Duration::from_secs(60);
/// For checking or making a volume's file system: STATE is small, and making an XFS writes little, however large it is.
const PROGRAM: Duration = Duration::from_secs(60);

/// Where they are mounted.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// STATE.
    pub(super) state: PathBuf,
    /// EPHEMERAL.
    pub(super) var: PathBuf,
}

/// The controller.
#[derive(Debug)]
pub(super) struct Volumes<P> {
    host: Host,
    powers: P,
    places: Places,
    meta: meta::Handle,
    handle: Handle,
    wishes: watch::Receiver<Wishes>,
    events: Events,
    /// Since when somebody wishes for STATE, in milliseconds since the kernel started.
    wished: Option<u64>,
    /// The disk on which STATE was looked for.
    looked: Option<String>,
    /// The newest wish that was seen.
    seen: u64,
    state: Stand,
    /// When STATE could not be read.
    unread: Option<Instant>,
    ephemeral: Stand,
    /// When EPHEMERAL was tried last and came to nothing.
    tried: Option<Instant>,
    repaired: bool,
    /// The disk's size for which EPHEMERAL was grown last.
    grown: Option<u64>,
    /// What was told last, by volume.
    told: BTreeMap<&'static str, String>,
    /// The recovery system runs.
    recovery: bool,
    generations: generations::Handle,
    stop: stop::Handle,
    reset: reset::Progress,
}

/// What a volume is kept with beside the disk.
#[derive(Clone, Debug)]
pub(super) struct Around {
    pub(super) meta: meta::Handle,
    pub(super) handle: Handle,
    pub(super) events: Events,
    /// Forget their revisions in a reset.
    pub(super) generations: generations::Handle,
    /// A reset may end with the machine switched off.
    pub(super) stop: stop::Handle,
}

/// How a volume stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stand {
    /// For this.
    Waiting(String),
    /// It can be made; this is why it is not there.
    Absent(String),
    /// It can be made anew; this is what is left of the last time.
    Half(String),
    /// For this reason, with the remedy.
    Unusable(String),
    /// Nothing is done with it, for this reason.
    Left(String),
    /// It can be used.
    Mounted {
        device: String,
        /// In the table.
        number: u32,
    },
}

/// The system disk, as far as volumes are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum System {
    /// It may still come; for this reason.
    Looking(String),
    /// There is none that can be used, for this reason.
    None(String),
    /// This one.
    Found {
        name: String,
        size: u64,
        /// It may be written to; or for what that waits.
        complete: Result<(), String>,
        /// Its table may be changed; or for what that waits.
        settled: Result<(), String>,
    },
}

impl<P: Powers> Volumes<P> {
    pub(super) fn new(host: Host, powers: P, places: Places, around: Around) -> Self {
        let Around { meta, handle, events, generations, stop } = around;
        let wishes = handle.wishes();
        let waiting = || Stand::Waiting("the system disk is looked for".into());
        Self {
            host,
            powers,
            places,
            meta,
            handle,
            wishes,
            events,
            wished: None,
            looked: None,
            seen: 0,
            state: waiting(),
            unread: None,
            ephemeral: waiting(),
            tried: None,
            repaired: false,
            grown: None,
            told: BTreeMap::new(),
            recovery: false,
            generations,
            stop,
            reset: reset::Progress::default(),
        }
    }

    /// As the recovery system has them: STATE is read if it is there, nothing is made, and EPHEMERAL is left alone.
    pub(super) fn of_recovery(mut self) -> Self {
        self.recovery = true;
        self.leave_ephemeral();
        self
    }

    fn leave_ephemeral(&mut self) {
        if self.recovery {
            self.ephemeral = Stand::Left("the recovery system leaves it as it is".into());
        }
    }
}

fn system(cx: &mut Cycle<'_>) -> Result<System, CycleError> {
    let Some(found) = cx.get::<SystemDisk>(SystemDisk::ID)?.map(|found| found.value) else {
        return Ok(System::Looking("the system disk is looked for".into()));
    };
    Ok(match found.state {
        system_disk::State::Waiting => System::Looking(found.reason.clone()),
        system_disk::State::None | system_disk::State::Ambiguous => System::None(found.reason.clone()),
        system_disk::State::Found => {
            let stage = cx.get::<Coldplug>(Coldplug::ID)?.map(|coldplug| coldplug.value.stage).unwrap_or_default();
            let why = format!("the choice of the system disk is not final yet (drivers: {stage:?})").to_lowercase();
            let settled = if found.settled { Ok(()) } else { Err(why) };
            let why = || "drivers of disks are being loaded: another disk may fit as well".to_owned();
            let complete = if found.complete { Ok(()) } else { Err(why()) };
            let size = cx.get::<Disk>(&found.disk)?.map_or(0, |disk| disk.value.size);
            System::Found { name: found.disk.clone(), size, complete, settled }
        }
    })
}

impl<P: Powers> Controller for Volumes<P> {
    const NAME: &'static str = "disk/volumes";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<SystemDisk>().watch::<Disk>().watch::<Coldplug>();
        ports.own::<Volume>().share::<Condition>().share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let wishes = *self.wishes.borrow_and_update();
        self.wished = (wishes.open > 0).then(|| self.wished.unwrap_or_else(uptime::now_ms));
        let system = system(cx)?;
        if self.keep_reset(cx, &system).await? {
            if wishes.open > 0 {
                self.handle.refuse(wishes.made, "a reset of this machine goes before: apictl get volumes");
            }
            self.tell_state(&system);
            self.show(cx, &system).await?;
            self.show_reset(cx)?;
            return Ok(Next::After(self.reset.pause().unwrap_or(RETRY)));
        }
        self.keep_state(cx, &system, wishes).await?;
        // Told before EPHEMERAL is made, which may take its time: nobody who waits for STATE needs it.
        self.tell_state(&system);
        self.show(cx, &system).await?;
        self.keep_ephemeral(cx, &system).await?;
        self.show(cx, &system).await?;
        let again = [self.tried, self.unread].into_iter().flatten().map(|at| RETRY.saturating_sub(at.elapsed())).min();
        let look = matches!(self.state, Stand::Mounted { .. }).then_some(LOOK);
        Ok([again, look].into_iter().flatten().min().map_or(Next::OnChange, Next::After))
    }

    async fn wake(&mut self) {
        if self.wishes.changed().await.is_err() {
            // Cannot be: `handle` holds the sender.
            std::future::pending::<()>().await;
        }
    }
}
