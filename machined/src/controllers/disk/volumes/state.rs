//! STATE: found, checked and mounted; made when somebody wants to configure.

use boot::part::STATE;
use reconcile::{Cycle, CycleError};
use sys::mount::Flags;
use tokio::time::Instant;

use super::format::{self, Look};
use super::judge::{Finding, judge};
use super::make::{Error, failed};
use super::show::EXT4;
use super::survey::{Node, Survey, is_clean};
use super::{PROGRAM, Powers, RETRY, Stand, System, Volumes};
use crate::resources::volume::Phase;
use crate::state::Wishes;
use crate::trace::chain;
use crate::{blocking, meta};

/// An error makes it read-only and is seen, instead of being written over; the data of a file is on the disk before the
/// name that it replaces is gone.
const OPTIONS: &str = "errors=remount-ro,data=ordered";
/// What is damaged, by the kernel's word: EUCLEAN, EBADMSG (a checksum).
const DAMAGED: [i32; 2] = [117, 74];
/// What e2fsck says when the file system is right now: nothing wrong, corrected, corrected and a reboot wished (which only
/// a mounted one needs).
pub(super) const RIGHT: [i32; 3] = [0, 1, 2];
/// It could not work: the disk did not let it read or write.
const UNREAD: i32 = 8;
pub(super) const E2FSCK: &str = "/usr/sbin/e2fsck";
pub(super) const MKFS: &str = "/usr/sbin/mkfs.ext4";
/// All said here, since mke2fs's own configuration is not in the image. No features of which the kernel knows nothing; inodes
/// for some thousand revisions; nothing left to be written later (`lazy`); no wait for a disk that discards slowly.
pub(super) const MAKE: [&str; 15] = [
    "-q",
    "-F",
    "-t",
    "ext4",
    "-L",
    "STATE",
    "-b",
    "4096",
    "-i",
    "8192",
    "-m",
    "0",
    "-E",
    "lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0",
    "-Jsize=16",
];

/// What became of mounting it.
enum Opened {
    Whole,
    /// Never handed out; not mounted any more.
    Half(String),
    Bad(String),
    /// The disk did not answer as it should, now.
    Unread(String),
}

/// What follows for a machine without a configuration.
const AGAIN: &str = "it is made with the first configuration";

impl<P: Powers> Volumes<P> {
    /// One step for STATE.
    pub(super) async fn keep_state(
        &mut self,
        cx: &mut Cycle<'_>,
        system: &System,
        wishes: Wishes,
    ) -> Result<(), CycleError> {
        if matches!(self.state, Stand::Mounted { .. }) {
            return Ok(());
        }
        let (name, complete, settled) = match system {
            System::Looking(why) => {
                self.state = Stand::Waiting(why.clone());
                (self.looked, self.unread) = (None, None);
                self.handle.waits_for(why);
                return Ok(());
            }
            System::None(why) => {
                (self.looked, self.unread) = (None, None);
                self.state = match self.configured() {
                    Some(but) => Stand::Unusable(format!("{but}, but there is no system disk to read it from: {why}")),
                    None => Stand::Absent(format!("there is no system disk to make it on: {why}")),
                };
                self.refuse(wishes);
                return Ok(());
            }
            System::Found { name, complete, settled, .. } => (name, complete, settled),
        };
        // Who asks again may have put it right.
        let asked = wishes.made > self.seen && matches!(self.state, Stand::Unusable(_));
        let anew = asked || self.unread.is_some_and(|at| at.elapsed() >= RETRY);
        self.seen = wishes.made;
        if anew || self.looked.as_ref() != Some(name) {
            self.unread = None;
            self.state = self.find(cx, name, complete).await?;
            // What it waits for are drivers: looked at again when some were loaded.
            self.looked = (!matches!(self.state, Stand::Waiting(_))).then(|| name.clone());
        }
        if wishes.open == 0 {
            return Ok(());
        }
        if let (Stand::Absent(_) | Stand::Half(_), meta::State::Absent(why)) = (&self.state, self.meta.state()) {
            // No wait would bring it.
            self.state =
                Stand::Absent(format!("without META nobody would know that this machine is configured: {why}"));
            self.refuse(wishes);
            return Ok(());
        }
        match (&self.state, settled) {
            (Stand::Mounted { .. }, _) => {}
            (Stand::Waiting(why), _) => self.handle.waits_for(why),
            (Stand::Unusable(_) | Stand::Left(_), _) => self.refuse(wishes),
            (Stand::Absent(_) | Stand::Half(_), _) if self.recovery => {
                self.handle.refuse(wishes.made, "the recovery system makes no file system: reboot, or install anew");
            }
            (Stand::Absent(_) | Stand::Half(_), Err(why)) => self.handle.waits_for(why),
            (Stand::Absent(_) | Stand::Half(_), Ok(())) if !self.powers.knows(EXT4) => {
                self.handle.need(EXT4);
                self.handle.waits_for("the kernel's module of ext4 is not loaded yet");
            }
            (Stand::Absent(_) | Stand::Half(_), Ok(())) => {
                match self.make(cx, name).await? {
                    Ok(made) => {
                        self.events.info("disk", format!("STATE was made on {name}"));
                        self.state = made;
                    }
                    Err(why) => {
                        let why = format!("STATE cannot be made: {why}");
                        self.events.error("disk", &why);
                        // Whether a partition of it is there now is looked at with the next wish.
                        self.state = Stand::Absent(why);
                        self.refuse(wishes);
                    }
                }
            }
        }
        Ok(())
    }

    fn refuse(&self, wishes: Wishes) {
        if let (1.., Stand::Unusable(why) | Stand::Absent(why)) = (wishes.open, &self.state) {
            self.handle.refuse(wishes.made, why);
        }
    }

    /// Why STATE may hold a configuration; none when this machine was never configured.
    fn configured(&self) -> Option<&'static str> {
        if self.meta.record().configured {
            return Some("META says that this machine is configured");
        }
        let unread = matches!(self.meta.state(), meta::State::Unusable(_));
        unread.then_some("META cannot be read, so this machine may be configured")
    }

    /// Looks for it at boot. That there is none is known by reading alone, so that a machine without configuration opens its
    /// API before the drivers of other disks are loaded; to mount one is to write to it.
    async fn find(
        &mut self,
        cx: &mut Cycle<'_>,
        name: &str,
        complete: &Result<(), String>,
    ) -> Result<Stand, CycleError> {
        if self.meta.state() == meta::State::Waiting {
            return Ok(Stand::Waiting("META is being read".into()));
        }
        let survey = match self.survey(name).await {
            Ok(survey) => survey,
            Err(error) => return Ok(self.unread(error.told())),
        };
        let remedy = "restore it from a copy of the disk, or install anew";
        let found = match judge(&STATE, EXT4, name, survey.state.clone()) {
            Finding::Unread(why) => return Ok(self.unread(why)),
            Finding::Bad(why) => return Ok(Stand::Unusable(why)),
            Finding::Missing => Stand::Absent(format!("{name} has no STATE partition")),
            Finding::Half(_, why) => Stand::Half(why),
            Finding::Ours(entry) => {
                // One that is mounted already, by a machined before, waits for nothing: neither does the API.
                let mounted = self.powers.mounted(&self.places.state).is_some();
                if let (false, Err(why)) = (mounted, complete) {
                    self.handle.need_disks();
                    return Ok(Stand::Waiting(why.clone()));
                }
                let node = match self.node(&survey, entry.number).await {
                    Ok(node) => node,
                    Err(error) => return Ok(self.unread(error.told())),
                };
                if !self.powers.knows(EXT4) {
                    self.handle.need(EXT4);
                    return Ok(Stand::Waiting("the kernel's module of ext4 is not loaded yet".into()));
                }
                match self.open(cx, &survey, entry.number, &node).await? {
                    Opened::Whole => return Ok(Stand::Mounted { device: node.path, number: entry.number }),
                    Opened::Half(why) => Stand::Half(why),
                    Opened::Bad(why) => return Ok(Stand::Unusable(why)),
                    Opened::Unread(why) => return Ok(self.unread(why)),
                }
            }
        };
        Ok(match (self.configured(), found) {
            (None, Stand::Half(why)) => Stand::Half(format!("{why}; {AGAIN}")),
            (None, Stand::Absent(why)) => Stand::Absent(format!("{why}; {AGAIN}")),
            (Some(but), Stand::Half(why) | Stand::Absent(why)) => {
                Stand::Unusable(format!("{but}, but {why}: {remedy}"))
            }
            (_, other) => other,
        })
    }

    /// It is tried again after a while.
    fn unread(&mut self, why: String) -> Stand {
        self.unread = Some(Instant::now());
        Stand::Unusable(why)
    }

    /// Checks it if it was not unmounted well, mounts it, and looks whether it is whole. Leaves it mounted only then.
    async fn open(
        &mut self,
        cx: &mut Cycle<'_>,
        survey: &Survey,
        number: u32,
        node: &Node,
    ) -> Result<Opened, CycleError> {
        let on = self.places.state.clone();
        let mut mounted = match self.powers.mounted(&on) {
            Some(device) if device == node.path => true,
            Some(other) => return Ok(Opened::Bad(format!("{other} is mounted in its place, {}", on.display()))),
            None => false,
        };
        let mut checked = false;
        if !mounted && !self.is_clean(survey, number).await {
            if let Err(opened) = self.check(cx, node, "-p").await? {
                return Ok(opened);
            }
            checked = true;
        }
        loop {
            let seen = match mounted {
                true => Ok(()),
                false => self.mount(node).await,
            };
            mounted = seen.is_ok();
            let root = on.clone();
            let seen = match seen {
                Ok(()) => blocking::run(move || format::look(&root)).await,
                Err(error) => Err(error),
            };
            let what = match seen {
                Ok(Look::Whole) => return Ok(Opened::Whole),
                Ok(Look::Empty) => Opened::Half(format!("the file system on {} was not made to its end", node.path)),
                Ok(Look::Not(why)) => Opened::Bad(format!("{} cannot be used: {why}", node.path)),
                Err(error) => {
                    let damaged = error.raw_os_error().is_some_and(|code| DAMAGED.contains(&code));
                    if mounted && let Err(error) = self.unmount().await {
                        return Ok(Opened::Bad(error));
                    }
                    mounted = false;
                    if damaged && !std::mem::replace(&mut checked, true) {
                        if let Err(opened) = self.check(cx, node, "-fp").await? {
                            return Ok(opened);
                        }
                        continue;
                    }
                    let why = format!("{} cannot be mounted or read: {error}", node.path);
                    let why = format!("{why}; {}", remedy(&node.path));
                    return Ok(if damaged { Opened::Bad(why) } else { Opened::Unread(why) });
                }
            };
            return Ok(match self.unmount().await {
                Ok(()) => what,
                Err(why) => Opened::Bad(why),
            });
        }
    }

    /// e2fsck, which corrects what it can without a decision of anybody's.
    async fn check(&self, cx: &mut Cycle<'_>, node: &Node, how: &str) -> Result<Result<(), Opened>, CycleError> {
        self.show_phase(cx, STATE.name, Phase::Checking, &format!("{} is being checked", node.path))?;
        Ok(match self.powers.run(E2FSCK, &[how, &node.path], PROGRAM).await {
            Ok(ended) if ended.code().is_some_and(|code| RIGHT.contains(&code)) => Ok(()),
            Ok(ended) => {
                let why = format!("{}; {}", failed(E2FSCK, &ended).told(), remedy(&node.path));
                Err(if ended.code() == Some(UNREAD) { Opened::Unread(why) } else { Opened::Bad(why) })
            }
            Err(error) => Err(Opened::Unread(format!("{} cannot be checked: {}", node.path, chain(&error)))),
        })
    }

    async fn is_clean(&self, survey: &Survey, number: u32) -> bool {
        let disk = survey.disk.clone();
        let entry = survey.table.partitions().find(|entry| entry.number == number);
        let Some(range) = entry.map(|entry| disk.bytes(&entry)) else { return false };
        blocking::run(move || is_clean(&disk, &range)).await.unwrap_or(false)
    }

    async fn mount(&self, node: &Node) -> std::io::Result<()> {
        let (powers, device, on) = (self.powers.clone(), node.path.clone(), self.places.state.clone());
        let flags = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
        blocking::run(move || powers.mount(EXT4, &device, &on, flags, OPTIONS)).await
    }

    async fn unmount(&self) -> Result<(), String> {
        let (powers, on) = (self.powers.clone(), self.places.state.clone());
        let done = blocking::run(move || powers.unmount(&on)).await;
        done.map_err(|error| format!("cannot unmount {}: {error}", self.places.state.display()))
    }

    /// Makes it, or takes one that is there.
    async fn make(&mut self, cx: &mut Cycle<'_>, name: &str) -> Result<Result<Stand, String>, CycleError> {
        if let Some(why) = self.configured() {
            return Ok(Err(format!("{why}: reboot, and see the condition `state`")));
        }
        match self.meta.state() {
            meta::State::Attached { unsaved: None, .. } => {}
            meta::State::Attached { unsaved: Some(why), .. } => {
                return Ok(Err(format!(
                    "META cannot be written, so nobody would know that this machine is configured: {why}"
                )));
            }
            _ => return Ok(Err("META of the system disk is not in use yet: try again".into())),
        }
        self.show_phase(cx, STATE.name, Phase::Making, "it is being made")?;
        let survey = match self.survey(name).await {
            Ok(survey) => survey,
            Err(error) => return Ok(Err(error.told())),
        };
        let number = match judge(&STATE, EXT4, name, survey.state.clone()) {
            Finding::Bad(why) | Finding::Unread(why) => return Ok(Err(why)),
            Finding::Missing => self.allot(&survey, STATE).await,
            Finding::Half(entry, _) => Ok(entry.number),
            Finding::Ours(entry) => {
                let node = match self.node(&survey, entry.number).await {
                    Ok(node) => node,
                    Err(error) => return Ok(Err(error.told())),
                };
                match self.open(cx, &survey, entry.number, &node).await? {
                    Opened::Whole => return Ok(Ok(Stand::Mounted { device: node.path, number: entry.number })),
                    Opened::Half(_) => Ok(entry.number),
                    Opened::Bad(why) | Opened::Unread(why) => return Ok(Err(why)),
                }
            }
        };
        let made = match number {
            Ok(number) => self.fill(name, number).await,
            Err(error) => Err(error),
        };
        Ok(made.map_err(|error| error.told()))
    }

    /// Makes the file system on a partition that holds nothing of anybody's, and what marks it as whole.
    async fn fill(&self, name: &str, number: u32) -> Result<Stand, Error> {
        let survey = self.survey(name).await?;
        let node = self.node(&survey, number).await?;
        let entry = |survey: &Survey| survey.table.partitions().find(|entry| entry.number == number);
        if let Some(entry) = entry(&survey) {
            self.mark(&survey, &entry, true).await?;
        }
        let mut arguments = MAKE.to_vec();
        arguments.push(&node.path);
        self.must(MKFS, &arguments).await?;
        let refused = |what: &str, error: &std::io::Error| Error::Program {
            program: format!("the kernel, asked to {what} {},", node.path),
            told: format!("says: {error}"),
        };
        self.mount(&node).await.map_err(|error| refused("mount", &error))?;
        let root = self.places.state.clone();
        if let Err(error) = blocking::run(move || format::write(&root)).await {
            // Else the next try would find it mounted.
            if let Err(why) = self.unmount().await {
                tracing::warn!("{why}");
            }
            return Err(refused("write to", &error));
        }
        let survey = self.survey(name).await?;
        if let Some(entry) = entry(&survey)
            && let Err(error) = self.mark(&survey, &entry, false).await
        {
            // It is whole all the same, and says so itself.
            tracing::warn!("{name}: {}", error.told());
        }
        self.announce(name);
        Ok(Stand::Mounted { device: node.path, number })
    }
}

fn remedy(device: &str) -> String {
    format!(
        "nothing on it was changed by force: start another system and run `e2fsck {device}`, restore it from a copy of the \
         disk, or install anew"
    )
}
