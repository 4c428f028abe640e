//! The controller of the system disk: finds it, gives META to those who wait for it, and makes an image's GUIDs its own.
//!
//! ```text
//! wait --the firmware named it--> META read --drivers of all disks loaded--> META used --nothing changed for SETTLED-->
//!   |                                  |                                         |        committed --> GUIDs made unique
//!   |                                  \-------------two fit---------------------+--> ambiguous: META detached
//!   \--PATIENCE over--> none
//! ```
//! Invariant: nothing is written to a disk while drivers of others are being loaded, nothing of its table before the choice
//! is committed in /run, and nothing at all when two disks fit.
//!
//! PATIENCE excuses only the inventory, which may lag behind the kernel for ever; it never stands in for drivers, since a
//! second disk that fits may hang on the next one. That wait ends all the same: `device/module` gives each driver a deadline
//! and counts one that hangs as failed. Meanwhile the API answers, with what META says where the firmware named the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot::Guid;
use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::choose::{Facts, Verdict, choose};
use super::host::Host;
use super::unique;
use crate::blocking;
use crate::efi::{self, Variables};
use crate::events::Events;
use crate::meta;
use crate::resources::coldplug::{Coldplug, Stage};
use crate::resources::condition::Condition;
use crate::resources::disk::Disk;
use crate::resources::partition::Partition;
use crate::resources::system_disk::{Guids, State, SystemDisk};
use crate::resources::wait::{self, For, Wait};
use crate::trace::chain;
use crate::uptime;

/// How long the machine waits for the disk it booted from.
const PATIENCE: Duration = wait::SYSTEM_DISK;
/// How long nothing may have changed before a choice is final: a second disk that is slower than the first shows up.
const SETTLED: Duration = Duration::from_secs(5);
/// Between two tries to use META or to change the table.
const RETRY: Duration = Duration::from_secs(60);

/// How `LoaderInfo` begins.
const OUR_LOADER: &str = "stele-loader ";

/// The controller.
#[derive(Debug)]
pub(super) struct System {
    host: Host,
    /// Where the committed choice is kept.
    file: PathBuf,
    meta: meta::Handle,
    state: watch::Receiver<meta::State>,
    /// Why META could not be used, as it was in the last cycle.
    trouble: Option<String>,
    events: Events,
    variables: Variables,
    started: Instant,
    started_ms: u64,
    committed: Option<Committed>,
    /// The verdict and since when it stands.
    verdict: Option<(Verdict, Instant)>,
    /// GUID of the partition the firmware booted from, once that is known: none when it does not say.
    booted_from: Option<Option<String>>,
    /// A loader of ours was started: it says so, wherever it came from.
    loader: bool,
    /// What was told last, by topic.
    told: BTreeMap<&'static str, String>,
    tried: Option<Instant>,
    /// The choice is committed and the table is as it is to be: it is not changed here any more.
    settled: bool,
}

/// The choice, as it is kept for the next machined of this boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Committed {
    sequence: u64,
    reason: String,
}

impl System {
    /// `file` keeps the choice for the next machined.
    pub(super) fn new(host: Host, file: PathBuf, meta: meta::Handle, events: Events) -> Self {
        let committed = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let variables = Variables::new(&host.sys);
        let (started, started_ms) = (Instant::now(), uptime::now_ms());
        let (verdict, booted_from, told, tried) = (None, None, BTreeMap::new(), None);
        let (state, trouble, settled) = (meta.watch(), None, false);
        Self {
            host,
            file,
            meta,
            state,
            trouble,
            events,
            variables,
            started,
            started_ms,
            committed,
            verdict,
            booted_from,
            loader: false,
            told,
            tried,
            settled,
        }
    }

    /// Asks the firmware until it has answered: each variable costs the firmware's time, and they do not change.
    async fn ask_firmware(&mut self, stage: Stage) {
        if self.booted_from.is_some() {
            return;
        }
        let (sys, variables) = (self.host.sys.clone(), self.variables.clone());
        let asked = blocking::run(move || {
            if !variables.is_efi() {
                return Ok::<_, String>((None, false));
            }
            efi::ensure_mounted(&sys).map_err(|error| chain(&error))?;
            let loader = variables.text("LoaderInfo", efi::LOADER).map_err(|error| error.to_string())?;
            let from = variables.booted_from().map_err(|error| error.to_string())?;
            Ok((from, loader.is_some_and(|loader| loader.starts_with(OUR_LOADER))))
        });
        match asked.await {
            Ok((partition, loader)) => (self.booted_from, self.loader) = (Some(partition), loader),
            Err(why) if stage >= Stage::Storage => {
                self.tell("firmware", format!("the firmware's variables cannot be read: {why}"));
            }
            // The module of efivarfs may still be missing.
            Err(_) => {}
        }
    }

    /// The verdict, whether all disks were there for it, and the disks.
    async fn decide(&mut self, cx: &mut Cycle<'_>) -> Result<(Verdict, bool, Vec<(String, Disk)>), CycleError> {
        let stage = cx.get::<Coldplug>(Coldplug::ID)?.map_or(Stage::Started, |coldplug| coldplug.value.stage);
        let disks: Vec<_> = cx.list::<Disk>()?.into_iter().map(|o| (o.id, Disk::clone(&o.value))).collect();
        let parts: Vec<_> = cx.list::<Partition>()?.into_iter().map(|o| (o.id, Partition::clone(&o.value))).collect();
        self.ask_firmware(stage).await;
        let late = self.started.elapsed() >= PATIENCE;
        let all_there = stage >= Stage::Storage
            && (late || {
                let (host, disks, parts) = (self.host.clone(), disks.clone(), parts.clone());
                blocking::run(move || listed(&host, &disks, &parts)).await
            });
        let facts = Facts {
            booted_from: self.booted_from.as_ref().and_then(Option::as_deref),
            disc: self.loader,
            committed: self.committed.as_ref().map(|choice| (choice.sequence, &*choice.reason)),
            all_there,
            late,
            disks: &disks,
            parts: &parts,
        };
        let verdict = choose(facts);
        if self.verdict.as_ref().is_none_or(|(before, _)| *before != verdict) {
            self.verdict = Some((verdict.clone(), Instant::now()));
        }
        Ok((verdict, all_there, disks))
    }

    /// One event for each new text of a topic.
    fn tell(&mut self, topic: &'static str, text: String) {
        if self.told.get(topic) != Some(&text) {
            self.events.warn("disk", &text);
            self.told.insert(topic, text);
        }
    }

    /// Gives META to those who wait for it; why not, when it cannot be used.
    async fn attach(&mut self, verdict: &Verdict, all_there: bool) -> Option<String> {
        let (meta, disk) = match verdict {
            Verdict::Wait(_) => return None,
            Verdict::None(reason) => {
                self.meta.detach(reason.clone());
                return None;
            }
            Verdict::Ambiguous { reason, .. } => {
                self.meta.detach_all(reason.clone());
                return None;
            }
            Verdict::Found { meta, disk, .. } => (meta, disk),
        };
        let Some(meta) = meta else {
            self.meta.detach(format!("the system disk {disk} has no META partition"));
            return None;
        };
        let device = self.host.node(meta);
        match self.meta.state() {
            meta::State::Attached { device: now, unsaved, .. } if now == device => {
                unsaved?;
                return self.meta.update(|_| ()).await.err().map(|error| chain(&error));
            }
            meta::State::Read { device: now } if now == device && !all_there => return None,
            _ if !all_there => return self.meta.read(&device).await.err().map(|error| chain(&error)),
            _ => {}
        }
        match self.meta.attach(&device).await {
            Ok(()) => {
                self.events.info("disk", format!("the system disk is {disk}, META is {meta}"));
                None
            }
            Err(error) => Some(chain(&error)),
        }
    }

    /// Commits a choice that has stood long enough, then makes its GUIDs unique. Returns what `guids` says.
    async fn commit(&mut self, disk: &str, of: &Disk, reason: &str, stage: Stage) -> Guids {
        let Some(image) = self.meta.image() else { return Guids::Unknown };
        let now = if of.guid == image.to_string() { Guids::Shared } else { Guids::Unique };
        if self.committed.is_none() {
            let since = self.verdict.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
            if stage < Stage::All || since < SETTLED {
                return now;
            }
            let choice = Committed { sequence: of.sequence, reason: reason.into() };
            if let Err(error) = self.save(&choice) {
                self.tell("choice", format!("cannot keep the choice of the system disk: {error}"));
                return now;
            }
            self.committed = Some(choice);
        }
        if self.settled {
            return Guids::Unique;
        }
        if self.tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return now;
        }
        self.tried = Some(Instant::now());
        let job = unique::Disk { device: self.host.node(disk), sector: of.sector.into(), size: of.size, image };
        let made = blocking::run(move || unique::make(&job, random)).await;
        self.settled = made.is_ok();
        match made {
            Ok(true) => {
                self.events.info("disk", format!("the GUIDs of {disk} and its partitions are its own now"));
                if let Err(error) = unique::announce(&self.host.sys, disk) {
                    self.tell("table", format!("the new table of {disk} is shown only after the next change: {error}"));
                }
                Guids::Unique
            }
            Ok(false) => Guids::Unique,
            Err(error) => {
                self.tell("table", format!("{disk} still has the GUIDs of its image: {}", chain(&error)));
                Guids::Shared
            }
        }
    }

    fn save(&self, choice: &Committed) -> io::Result<()> {
        crate::file::replace(&self.file, &serde_json::to_vec(choice)?, 0o644)
    }

    /// As if so much time had passed since the start and the verdict.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.started -= by;
        if let Some((_, since)) = &mut self.verdict {
            *since -= by;
        }
    }

    /// When time alone changes something.
    fn next(&self, verdict: &Verdict, failed: bool, guids: Guids) -> Next {
        let left = |whole: Duration, since: Instant| whole.saturating_sub(since.elapsed());
        let tick = Duration::from_millis(10);
        match verdict {
            Verdict::Wait(_) => match left(PATIENCE, self.started) {
                // Drivers are still waited for: they wake this by their stage.
                Duration::ZERO => Next::OnChange,
                left => Next::After(left + tick),
            },
            Verdict::Found { .. } if failed => Next::After(RETRY),
            Verdict::Found { meta: None, .. } => Next::OnChange,
            Verdict::Found { .. } if self.committed.is_none() => {
                let settled = self.verdict.as_ref().map_or(Duration::ZERO, |(_, since)| left(SETTLED, *since));
                let listed = left(PATIENCE, self.started);
                let soonest = [settled, listed].into_iter().filter(|left| !left.is_zero()).min();
                // After those only drivers, which wake this, or keeping the choice, which is tried again.
                Next::After(soonest.unwrap_or(RETRY) + tick)
            }
            Verdict::Found { .. } if guids == Guids::Shared => Next::After(RETRY + tick),
            _ => Next::OnChange,
        }
    }
}

/// Every disk and partition that the kernel shows is among the resources: the inventory lags a moment behind.
fn listed(host: &Host, disks: &[(String, Disk)], parts: &[(String, Partition)]) -> bool {
    host.scan().iter().all(|seen| {
        let known = disks.iter().any(|(name, disk)| *name == seen.name && disk.sequence == seen.sequence);
        known && seen.partitions.iter().all(|part| parts.iter().any(|(name, _)| *name == part.name))
    })
}

fn trouble(state: &meta::State) -> Option<&str> {
    match state {
        meta::State::Attached { unsaved, .. } => unsaved.as_deref(),
        meta::State::Unusable(why) => Some(why),
        _ => None,
    }
}

pub(super) fn random() -> Guid {
    // The text of a random UUID is always a GUID.
    Guid::parse(&uuid::Uuid::new_v4().to_string()).unwrap_or(Guid::ZERO)
}

impl Controller for System {
    const NAME: &'static str = "disk/system";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Disk>().watch::<Partition>().watch::<Coldplug>();
        ports.own::<SystemDisk>().share::<Condition>().share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let (verdict, all_there, disks) = self.decide(cx).await?;
        if let Verdict::Found { disk, meta: Some(_), .. } = &verdict
            && matches!(self.meta.state(), meta::State::Waiting | meta::State::Absent(_))
        {
            // Seen while a disk that hangs is waited for.
            let reason = format!("META of the system disk {disk} is being read");
            cx.put::<Condition>("system-disk", Condition::unmet(reason))?;
        }
        let failed = self.attach(&verdict, all_there).await;
        let stage = cx.get::<Coldplug>(Coldplug::ID)?.map_or(Stage::Started, |coldplug| coldplug.value.stage);
        let mut guids = Guids::Unknown;
        if let Verdict::Found { disk, reason, .. } = &verdict
            && let Some((_, of)) = disks.iter().find(|(name, _)| name == disk)
        {
            guids = self.commit(disk, of, reason, stage).await;
        }
        let (mut status, condition) = status(&verdict, failed.as_deref(), guids);
        status.complete = all_there && status.state == State::Found;
        status.settled = self.settled && status.complete;
        if let Verdict::Wait(reason) = &verdict {
            cx.put::<Wait>(For::SystemDisk.id(), For::SystemDisk.wait(reason, self.started_ms))?;
        } else if !condition.met {
            self.tell("condition", condition.reason.clone());
        }
        cx.put::<SystemDisk>(SystemDisk::ID, status)?;
        cx.put::<Condition>("system-disk", condition)?;
        self.trouble = trouble(&self.meta.state()).map(Into::into);
        Ok(self.next(&verdict, failed.is_some(), guids))
    }

    /// When META could not be used, or could be again.
    async fn wake(&mut self) {
        if self.state.wait_for(|state| trouble(state) != self.trouble.as_deref()).await.is_err() {
            // Cannot be: `meta` holds the sender.
            std::future::pending::<()>().await;
        }
    }
}

fn status(verdict: &Verdict, failed: Option<&str>, guids: Guids) -> (SystemDisk, Condition) {
    let none = SystemDisk {
        state: State::None,
        disk: String::new(),
        meta: String::new(),
        reason: String::new(),
        candidates: Vec::new(),
        guids,
        complete: false,
        settled: false,
    };
    match verdict.clone() {
        Verdict::Wait(reason) => (
            SystemDisk { state: State::Waiting, reason: reason.clone(), ..none },
            Condition::unmet(format!("waiting for the system disk: {reason}")),
        ),
        Verdict::None(reason) => {
            (SystemDisk { reason: reason.clone(), ..none }, Condition::met(format!("no system disk: {reason}")))
        }
        Verdict::Ambiguous { disks, reason } => (
            SystemDisk { state: State::Ambiguous, reason: reason.clone(), candidates: disks, ..none },
            Condition::unmet(format!("system disk unknown: {reason}")),
        ),
        Verdict::Found { disk, meta, reason } => {
            let condition = match failed {
                Some(why) => Condition::unmet(format!("META of the system disk {disk} cannot be used: {why}")),
                None => Condition::met(format!("the system disk is {disk}: {reason}")),
            };
            let (meta, candidates) = (meta.unwrap_or_default(), vec![disk.clone()]);
            (SystemDisk { state: State::Found, disk, meta, reason, candidates, ..none }, condition)
        }
    }
}

/// Where the choice is kept.
pub(super) fn file(run: &Path) -> PathBuf {
    run.join("system-disk")
}
