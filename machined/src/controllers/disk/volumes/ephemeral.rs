//! EPHEMERAL: made once STATE is there, mounted at /var, grown with its disk.
//!
//! What a corrupt one gets is decided in docs/decisions/0011: at most one run of xfs_repair, without force, and never a new
//! file system in its place.

use boot::part::{BEING_MADE, EPHEMERAL};
use reconcile::{Cycle, CycleError};
use sys::mount::Flags;
use sys::partition::Place;
use tokio::time::Instant;

use super::judge::{Finding, Holds, called, judge};
use super::make::{Error, failed, in_its_place};
use super::show::XFS;
use super::survey::{Node, Survey};
use super::{Powers, RETRY, Stand, System, Volumes, room};
use crate::blocking;
use crate::resources::volume::Phase;
use crate::trace::chain;

const MKFS: &str = "/usr/sbin/mkfs.xfs";
const GROWFS: &str = "/usr/sbin/xfs_growfs";
const REPAIR: &str = "/usr/sbin/xfs_repair";
/// The kernel's word for a damaged file system.
const EUCLEAN: i32 = 117;
/// The kernel's word for a disk that does not answer as it should.
const EIO: i32 = 5;
/// xfs_repair reads all metadata: an hour's worth of a large disk is somebody else's decision.
const REPAIR_WITHIN: std::time::Duration = std::time::Duration::from_secs(600);

impl<P: Powers> Volumes<P> {
    /// One step for EPHEMERAL.
    pub(super) async fn keep_ephemeral(&mut self, cx: &mut Cycle<'_>, system: &System) -> Result<(), CycleError> {
        if self.recovery {
            return Ok(());
        }
        let System::Found { name, size, complete, settled } = system else {
            if !matches!(self.ephemeral, Stand::Mounted { .. }) {
                self.tried = None;
                let (System::Looking(why) | System::None(why)) = system else { return Ok(()) };
                self.ephemeral = Stand::Waiting(why.clone());
            }
            return Ok(());
        };
        let again = self.tried.is_none_or(|tried| tried.elapsed() >= RETRY);
        match (&self.state, &self.ephemeral) {
            (_, Stand::Mounted { .. }) => {}
            (_, Stand::Unusable(_)) if self.tried.is_none() => {}
            (Stand::Mounted { .. }, _) if let (Err(why), None) = (complete, self.powers.mounted(&self.places.var)) => {
                self.ephemeral = Stand::Waiting(why.clone());
            }
            (Stand::Mounted { .. }, _) if again => {
                self.tried = None;
                self.ephemeral = self.find_or_make(cx, name, settled).await?;
                if matches!(self.ephemeral, Stand::Absent(_) | Stand::Half(_)) {
                    self.tried = Some(Instant::now());
                }
            }
            (Stand::Mounted { .. }, _) => {}
            _ => {
                self.tried = None;
                self.ephemeral = Stand::Waiting("it is made and mounted after STATE".into());
            }
        }
        if let (Stand::Mounted { number, .. }, Ok(())) = (&self.ephemeral, settled)
            && self.grown != Some(*size)
        {
            self.grown = Some(*size);
            if let Err(error) = self.grow(name, *number).await {
                let text = format!("EPHEMERAL was not grown to the size of its disk: {}", error.told());
                self.complain("growth", &text);
            }
        }
        Ok(())
    }

    /// It cannot be used now, and is tried again after a while.
    fn later(&mut self, why: String) -> Stand {
        self.tried = Some(Instant::now());
        Stand::Unusable(why)
    }

    async fn find_or_make(
        &mut self,
        cx: &mut Cycle<'_>,
        name: &str,
        settled: &Result<(), String>,
    ) -> Result<Stand, CycleError> {
        let survey = match self.after_reset(name, settled).await {
            Ok(survey) => survey,
            Err(stand) => return Ok(stand),
        };
        let entry = match judge(&EPHEMERAL, XFS, name, survey.ephemeral.clone()) {
            Finding::Unread(why) => return Ok(self.later(why)),
            Finding::Bad(why) => return Ok(Stand::Unusable(why)),
            // Marked, it was never mounted; and zeros that are not marked were once something else.
            Finding::Ours(entry) if entry.attributes & BEING_MADE == 0 => {
                return match self.node(&survey, entry.number).await {
                    Ok(node) => self.mount_ephemeral(cx, &node, entry.number).await,
                    Err(error) => Ok(Stand::Absent(error.told())),
                };
            }
            Finding::Half(entry, why) if entry.attributes & BEING_MADE == 0 => {
                let remedy = "restore it, or delete the partition, after which an empty one is made";
                return Ok(Stand::Unusable(format!("{why} any more: {remedy}")));
            }
            Finding::Ours(entry) | Finding::Half(entry, _) => Some(entry),
            Finding::Missing => None,
        };
        if let Err(why) = settled {
            return Ok(Stand::Waiting(why.clone()));
        }
        if entry.is_none() {
            match in_its_place(&survey) {
                Ok(Holds::Known(content)) => {
                    return Ok(Stand::Unusable(format!(
                        "the free space of {name} begins with {}, so a partition was taken out of the table: put it back, \
                         or write zeros over its first MiB",
                        called(&content)
                    )));
                }
                Ok(_) => {}
                Err(error) => return Ok(Stand::Absent(error.told())),
            }
        }
        self.show_phase(cx, EPHEMERAL.name, Phase::Making, "it is being made")?;
        match self.make_ephemeral(&survey, entry.map(|entry| entry.number)).await {
            Ok((node, number)) => {
                self.events.info("disk", format!("EPHEMERAL was made on {}", node.path));
                self.mount_ephemeral(cx, &node, number).await
            }
            Err(error) => Ok(Stand::Absent(format!("it cannot be made: {}", error.told()))),
        }
    }

    /// What is on the disk. A partition that a reset has wiped is marked first: from then on the table says what META said.
    async fn after_reset(&self, name: &str, settled: &Result<(), String>) -> Result<Survey, Stand> {
        let absent = |error: Error| Stand::Absent(error.told());
        let survey = self.survey(name).await.map_err(absent)?;
        if !self.meta.record().anew {
            return Ok(survey);
        }
        if let Err(why) = settled {
            return Err(Stand::Waiting(why.clone()));
        }
        for found in &survey.ephemeral {
            self.mark(&survey, &found.entry, true).await.map_err(absent)?;
        }
        let told = self.meta.commit(|record| record.anew = false).await;
        told.map_err(|error| Stand::Absent(format!("META does not keep that it is made anew: {}", chain(&error))))?;
        self.survey(name).await.map_err(absent)
    }

    /// Makes the partition if it is not there, and the file system; marked until that is whole.
    async fn make_ephemeral(&self, survey: &Survey, number: Option<u32>) -> Result<(Node, u32), Error> {
        let number = match number {
            Some(number) => number,
            None => self.allot(survey, EPHEMERAL).await?,
        };
        let survey = self.survey(&survey.name).await?;
        let node = self.node(&survey, number).await?;
        // -f: what is there was left by a run that was cut off. -K: no wait for a disk that discards slowly.
        self.must(MKFS, &["-q", "-f", "-K", "-L", EPHEMERAL.name, &node.path]).await?;
        if let Some(entry) = survey.table.partitions().find(|entry| entry.number == number) {
            self.mark(&survey, &entry, false).await?;
        }
        self.announce(&survey.name);
        Ok((node, number))
    }

    async fn mount_ephemeral(&mut self, cx: &mut Cycle<'_>, node: &Node, number: u32) -> Result<Stand, CycleError> {
        let mounted = Stand::Mounted { device: node.path.clone(), number };
        let on = &self.places.var;
        match self.powers.mounted(on) {
            Some(device) if device == node.path => return Ok(mounted),
            Some(other) => return Ok(Stand::Unusable(format!("{other} is mounted in its place, {}", on.display()))),
            None if !self.powers.knows(XFS) => {
                self.handle.need(XFS);
                return Ok(Stand::Waiting("the kernel's module of XFS is not loaded yet".into()));
            }
            None => {}
        }
        loop {
            let (powers, device, on) = (self.powers.clone(), node.path.clone(), self.places.var.clone());
            // Programs of containers lie there, so they may be run.
            let flags = Flags::NOSUID | Flags::NODEV;
            let Err(error) = blocking::run(move || powers.mount(XFS, &device, &on, flags, "")).await else {
                return Ok(mounted);
            };
            let damaged = error.raw_os_error() == Some(EUCLEAN);
            if damaged && !std::mem::replace(&mut self.repaired, true) {
                let what = format!("{} is damaged and being repaired", node.path);
                self.show_phase(cx, EPHEMERAL.name, Phase::Checking, &what)?;
                match self.powers.run(REPAIR, &[&node.path], REPAIR_WITHIN).await {
                    Ok(ended) if ended.code() == Some(0) => {
                        self.events.warn("disk", format!("EPHEMERAL on {} was damaged and repaired", node.path));
                        continue;
                    }
                    Ok(ended) => {
                        let why = failed(REPAIR, &ended).told();
                        return Ok(Stand::Unusable(format!("it is damaged, and {why}; {}", remedy(&node.path))));
                    }
                    Err(error) => {
                        return Ok(Stand::Unusable(format!(
                            "it is damaged, and {}; {}",
                            chain(&error),
                            remedy(&node.path)
                        )));
                    }
                }
            }
            let why = format!("{} cannot be mounted: {error}; {}", node.path, remedy(&node.path));
            // A path to a disk may come back.
            return Ok(if error.raw_os_error() == Some(EIO) { self.later(why) } else { Stand::Unusable(why) });
        }
    }

    /// Gives it what its disk has gained: the table, the kernel's partition, the file system; each only if it lags behind.
    async fn grow(&self, name: &str, number: u32) -> Result<(), Error> {
        let survey = self.survey(name).await?;
        let last = room::growth(&survey.disk, &survey.table, number);
        if last.is_some() || survey.table.field64(32) != survey.disk.last() {
            self.extend(&survey, number, last).await?;
        }
        let survey = self.survey(name).await?;
        let Some(entry) = survey.table.partitions().find(|entry| entry.number == number) else { return Ok(()) };
        let range = survey.disk.bytes(&entry);
        let length = range.end - range.start;
        let node = self.node(&survey, number).await?;
        if node.size != length {
            let (powers, device) = (self.powers.clone(), survey.disk.device.clone());
            let place = Place { number, start: range.start, length };
            let resized = blocking::run(move || powers.resize(&device, place)).await;
            resized.map_err(|source| Error::Kernel { number, disk: name.into(), source })?;
            self.announce(name);
        }
        let on = self.places.var.display().to_string();
        self.must(GROWFS, &["-d", &on]).await?;
        if last.is_some() {
            self.events.info("disk", format!("EPHEMERAL has grown to {} MiB with its disk", length >> 20));
        }
        Ok(())
    }
}

fn remedy(device: &str) -> String {
    format!(
        "it is left as it is: start another system and run `xfs_repair {device}` (its option -L gives up what was written \
         last); or give it up: delete the partition and write zeros over its first MiB, and an empty one is made"
    )
}
