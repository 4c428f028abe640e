//! The install: the system onto a disk, which it is then started from.
//!
//! ```text
//! choose (which disk, what it holds) -> pull, or the medium the machine was started from
//!   -> point of no return -> write (installer install: wipe, write, table, verify) -> firmware -> Done -> reboot
//! ```
//! Invariant: up to the point of no return no disk is changed; the disk is chosen once, and is the same medium when it is written. A
//! machine that was started anew in between does not go on by itself: its disks may be others.

mod choose;
mod facts;
mod look;
mod medium;
mod unattended;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::image::Reference;
use config::image::install::{Installed, Line, Request as Order};
use config::image::pull::Pulled;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use self::medium::Sources;
use super::pull::{self, Facts, Puller};
use super::record::{self, Request};
use super::work::{Failed, Job, Work};
use crate::configuration::Active;
use crate::drivers::Drivers;
use crate::efi::entry::{self, Place};
use crate::link::Link;
use crate::program::{Call, Program};
use crate::resources::config_status::State;
use crate::resources::disk::Disk;
use crate::trace::chain;
use crate::{blocking, generations, stop};

pub use choose::{Choice, Judged};
pub use look::choice;
pub use unattended::{Offered, Unattended};

/// The image's own.
const INSTALLER: &str = "/usr/bin/installer";
/// Some hundred megabytes onto a slow disk, and read back.
const WITHIN: Duration = Duration::from_secs(60 * 60);
/// For the source of a first configuration to be read again after a start of machined.
const OFFERED: Duration = Duration::from_secs(120);
const MEMORY: u64 = 128 << 20;
/// In what it leaves for a machined that is started in between.
const CHOSEN: &str = "chosen";

/// What an install works with.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Parts {
    pub puller: Puller,
    pub boot_id: String,
    pub active: watch::Receiver<Arc<Active>>,
    pub offered: Offered,
    pub stop: stop::Handle,
    pub init: Link,
    pub generations: generations::Handle,
    pub drivers: Drivers,
    /// /sys.
    pub sys: PathBuf,
}

/// The work.
#[derive(Debug)]
pub struct Install {
    parts: Parts,
}

/// The disk that was chosen.
#[derive(Debug, Serialize, Deserialize)]
struct Chosen {
    /// The boot in which it was.
    boot: String,
    /// Its name then, and the number of its medium.
    disk: String,
    sequence: u64,
}

impl Install {
    /// With these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    async fn install(&self, job: &Job) -> Result<String, Failed> {
        let Request::Install(wanted) = job.request() else {
            return Err(Failed::because("this is no install", "report it: apictl support"));
        };
        let store = &self.parts.puller.store;
        job.step("choose").await?;
        let active = self.configuration(&wanted).await?;
        if active.state != State::Unconfigured {
            let remedy = "another version: apictl upgrade; another disk: start the machine from a medium";
            return Err(Failed::refused("this machine is installed and has a configuration", remedy));
        }
        let chosen = self.choose(job, &wanted).await?;
        let on = self.parts.puller.run.join("medium");
        let (_medium, sources, pulled) = if wanted.image.is_empty() {
            job.step("read").await?;
            let (medium, sources) = medium::open(&self.parts, &on).await?;
            (Some(medium), sources, None)
        } else {
            let image: Reference = wanted.image.parse().map_err(|why: String| Failed::refused(why, ""))?;
            job.step("pull").await?;
            let pulled = self.parts.puller.pull(job, &image, &active, &Facts::default()).await?;
            (None, of_image(&pulled)?, Some(pulled))
        };
        // What was put in or taken out meanwhile.
        let disk = store.get::<Disk>(&chosen.disk).filter(|disk| disk.value.sequence == chosen.sequence);
        let disk = disk.ok_or_else(|| Failed::because(format!("{} is gone", chosen.disk), "apictl get disks"))?.value;
        job.commit().await?;
        job.step("write").await?;
        let facts = facts::facts(job, &sources, pulled.as_ref(), &disk)?;
        let order = Order {
            device: disk.device.clone(),
            sequence: chosen.sequence,
            uki: sources.uki,
            recovery: sources.recovery,
            loader: sources.loader,
            facts: Some(facts.record),
        };
        let installed = self.write(job, &order, pulled.as_ref()).await?;
        job.step("firmware").await?;
        self.tell_firmware(job, &installed).await;
        Ok(facts.outcome)
    }

    /// What says where images come from: what is in effect, or what nobody has taken yet where a document asked.
    async fn configuration(&self, wanted: &record::Install) -> Result<Arc<Active>, Failed> {
        if wanted.document.is_empty() {
            return pull::configuration(&self.parts.active).await;
        }
        let mut offered = self.parts.offered.clone();
        let found = timeout(OFFERED, offered.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(|found| found.ok()?.clone());
        found.ok_or_else(|| Failed::because("the document Install is not there any more", "apictl get config-sources"))
    }

    /// The disk, the same as before when machined was started anew.
    async fn choose(&self, job: &Job, wanted: &record::Install) -> Result<Chosen, Failed> {
        let boot = &self.parts.boot_id;
        if let Some(chosen) = job.left::<Chosen>(CHOSEN) {
            if chosen.boot == *boot {
                return Ok(chosen);
            }
            let reason = format!("the machine was started anew before {} was complete", chosen.disk);
            return Err(Failed::because(reason, "begin again; what was begun does not start"));
        }
        let store = &self.parts.puller.store;
        let selector = wanted.disk.parse().map_err(|why: String| Failed::refused(why, "apictl get disks -o wide"))?;
        let choice = choice(store, &selector, wanted.wipe).await?;
        let name = choice.chosen.map_err(|(reason, remedy)| Failed::refused(reason, remedy))?;
        let gone = || Failed::because(format!("{name} is gone"), "apictl get disks");
        let sequence = store.get::<Disk>(&name).ok_or_else(gone)?.value.sequence;
        let chosen = Chosen { boot: boot.clone(), disk: name, sequence };
        job.leave(CHOSEN, &chosen).await?;
        Ok(chosen)
    }

    /// By the program of what is installed.
    async fn write(&self, job: &Job, order: &Order, pulled: Option<&Pulled>) -> Result<Installed, Failed> {
        let input = zeroize::Zeroizing::new(serde_json::to_vec(order).unwrap_or_default());
        let own = pulled.and_then(|pulled| pulled.files.iter().find(|file| file.name == "installer"));
        let program = match (own, pulled) {
            (Some(own), _) => Program::Part { path: own.path.as_ref(), digest: own.digest.hex(), name: "installer" },
            (None, None) => Program::Image(INSTALLER),
            (None, Some(_)) => return Err(Failed::refused("the image holds no program installer", "")),
        };
        let call = Call {
            program,
            arguments: &["install"],
            input: &input,
            confined: None,
            memory: MEMORY,
            pids: 32,
            within: WITHIN,
        };
        let mut last = None;
        let hear = |line: &str| match serde_json::from_str(line) {
            Ok(Line::Progress(now)) => {
                job.at(&now.step);
                job.bytes(now.done, now.total);
            }
            Ok(line) => last = Some(line),
            Err(error) => tracing::warn!("installer install says what is no line of ours: {error}"),
        };
        let ended = self.parts.puller.programs.call(&call, hear).await;
        let ended = ended.map_err(|error| Failed::because(chain(&error), "apictl logs machined"))?;
        match last {
            Some(Line::Installed(installed)) if ended.code() == Some(0) => Ok(installed),
            Some(Line::Failed(failed)) => {
                Err(Failed::because(format!("{}: {}", failed.step, failed.message), failed.remedy))
            }
            _ => Err(Failed::because(format!("installer install {}", ended.told()), "apictl logs machined")),
        }
    }

    /// The next start is from the new disk, where the firmware can be told; elsewhere its own order counts.
    async fn tell_firmware(&self, job: &Job, installed: &Installed) {
        let sys = self.parts.sys.clone();
        let place = Place { guid: installed.esp.clone(), start: installed.start, sectors: installed.sectors };
        if let Err(error) = blocking::run(move || entry::start_from(&sys, &place)).await {
            let why = chain(&error);
            job.warn(&format!(
                "the firmware was not told of the disk, its own order counts ({why}): take the medium out"
            ));
        }
    }

    /// Asks init for the reboot, so that it happens even if machined dies.
    async fn tell_init(&self) {
        if let Err(error) = self.parts.init.stopping(stop::Action::Reboot.into()).await {
            tracing::error!("init cannot be told of the reboot: {}", chain(&error));
        }
    }

    fn reboot(&self, job: &Job) {
        let record = job.record();
        let cause = format!("install by {} (job {})", record.by, record.id);
        self.parts.stop.request(stop::Request::new(stop::Action::Reboot, cause));
    }
}

/// The parts of an image.
fn of_image(pulled: &Pulled) -> Result<Sources, Failed> {
    let part = |name: &str| {
        let file = pulled.files.iter().find(|file| file.name == name)?;
        Some(config::image::esp::Source { path: file.path.clone(), digest: file.digest.clone(), size: file.size })
    };
    let missing =
        |name: &str| Failed::refused(format!("the image holds no part {name}"), "name an installer image of Stele");
    Ok(Sources {
        uki: part("uki").ok_or_else(|| missing("uki"))?,
        recovery: part("recovery"),
        loader: part("loader").ok_or_else(|| missing("loader"))?,
    })
}

impl Work for Install {
    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<String, Failed>> {
        self.install(job).boxed()
    }

    fn tidy<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, ()> {
        self.parts.puller.remove_folders().boxed()
    }

    fn before<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, ()> {
        self.tell_init().boxed()
    }

    fn after<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, ()> {
        async move { self.reboot(job) }.boxed()
    }
}
