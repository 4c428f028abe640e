//! An install with nobody at it: a first configuration that holds a document `Install`, on a machine that was started from a medium.
//!
//! ```text
//! no Install, or the system runs from its own disk     -> the configuration is taken here
//! this install is on the disk already                  -> said, nothing is done: the firmware starts the medium first
//! else                                                 -> the job; the installed system takes the configuration from the same source
//! ```
//! Invariant: what was installed by a document is not installed by the same document again, whatever the firmware starts.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::boot::part;
use config::kinds::Install;
use reconcile::Store;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::look::{booted, choice};
use crate::blocking;
use crate::configuration::Active;
use crate::jobs::{self, Handle, Request};
use crate::meta::Volume;
use crate::platform::Input;
use crate::resources::config_status::State;
use crate::resources::disk::Disk;
use crate::resources::job::{Job, Phase};
use crate::resources::partition::Partition;
use crate::trace::chain;

/// Who asks, in jobs.
const BY: &str = "the document Install";
/// Until what was refused is asked again, unless other disks are there.
const AGAIN: Duration = Duration::from_secs(600);

/// Documents and secrets that an install by nobody works with: where the image comes from, and whom it is signed by.
pub type Offered = watch::Receiver<Option<Arc<Active>>>;

/// Looks at first configurations before they are taken.
#[derive(Debug)]
pub struct Unattended {
    store: Store,
    jobs: Handle,
    offer: watch::Sender<Option<Arc<Active>>>,
    refused: Mutex<Option<Refused>>,
}

/// What was refused last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    what: String,
    disks: BTreeSet<(String, u64)>,
    why: String,
    at: Instant,
}

impl Unattended {
    /// `offer` goes to the install.
    pub fn new(store: Store, jobs: Handle, offer: watch::Sender<Option<Arc<Active>>>) -> Self {
        Self { store, jobs, offer, refused: Mutex::default() }
    }

    /// What becomes of a first configuration: none, it is to be taken here. Does not return when the machine is about to start
    /// from the disk.
    pub async fn look(&self, input: &Input) -> Option<Result<(), String>> {
        // What cannot be parsed, whoever takes it says.
        let stream = config::parse(&input.text).ok()?;
        let (_, install) = stream.documents.of::<Install>().next()?;
        let disk = match booted(&self.store).await {
            Ok(disk) => disk,
            Err(why) => return Some(Err(why.reason)),
        };
        let what = id(install);
        if let Some(name) = disk
            && let Some(disk) = self.store.get::<Disk>(&name)
            && (!is_medium(&disk.value) || self.is_on(&name, &what).await)
        {
            return None;
        }
        let disks = self.store.list::<Disk>().into_iter().map(|disk| (disk.id, disk.value.sequence)).collect();
        if let Some(known) = self.last().clone()
            && (&known.what, &known.disks) == (&what, &disks)
            && known.at.elapsed() < AGAIN
        {
            return Some(Err(known.why));
        }
        let install = install.clone();
        let active = Active {
            documents: Arc::new(stream.documents),
            secrets: Arc::new(stream.secrets.unwrap_or_default()),
            ..Active::nothing(State::Unconfigured)
        };
        self.offer.send_replace(Some(Arc::new(active)));
        let why = match self.install(&install, &what).await {
            Ok(()) => std::future::pending().await,
            Err(why) => why,
        };
        *self.last() = Some(Refused { what, disks, why: why.clone(), at: Instant::now() });
        Some(Err(why))
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn install(&self, install: &Install, what: &str) -> Result<(), String> {
        let chosen = choice(&self.store, &install.disk, true).await.map_err(|why| why.reason)?;
        let chosen = chosen.chosen.map_err(|(reason, _)| format!("Install: {reason}"))?;
        if self.is_on(&chosen, what).await {
            return Err(format!(
                "Install: {chosen} was installed by this document already: take the medium out, or have the firmware start {chosen} \
                 first"
            ));
        }
        let request = Request::Install(jobs::Install {
            disk: install.disk.to_string(),
            image: install.image.as_ref().map(ToString::to_string).unwrap_or_default(),
            wipe: install.wipe,
            document: what.to_owned(),
        });
        let mut changes = self.store.watch::<Job>();
        let job = self.jobs.start(request, BY.into()).await.map_err(|error| format!("Install: {}", chain(&error)))?;
        loop {
            changes.mark_seen();
            if let Some(job) = self.store.get::<Job>(&job.to_string()).map(|job| job.value)
                && job.phase.is_over()
            {
                return match job.phase {
                    Phase::Done => Ok(()),
                    _ => Err(format!("Install: {}", job.reason)),
                };
            }
            changes.changed().await;
        }
    }

    /// Whether a disk's META says that this document installed it.
    async fn is_on(&self, disk: &str, what: &str) -> bool {
        let kind = part::META.guid.to_string();
        let parts = self.store.list::<Partition>();
        let meta = parts.iter().find(|part| part.value.disk == disk && part.value.kind.eq_ignore_ascii_case(&kind));
        let Some(device) = meta.map(|part| part.value.device.clone()) else { return false };
        let record = blocking::run(move || Volume::open(Path::new(&device)).and_then(|volume| volume.load())).await;
        record.ok().flatten().is_some_and(|record| record.installed.as_deref() == Some(what))
    }
}

/// Whether a disk is made to be carried around. Many a stick says of itself that it cannot be removed.
fn is_medium(disk: &Disk) -> bool {
    disk.removable || disk.transport == "usb"
}

/// What a document is called on the disk that it installs: another one is another install.
fn id(install: &Install) -> String {
    let text = serde_json::to_vec(install).unwrap_or_default();
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stick_is_a_medium_whatever_it_says_of_itself() {
        let disk = |removable, transport: &str| Disk { removable, transport: transport.into(), ..Disk::default() };
        assert!(is_medium(&disk(false, "usb")) && is_medium(&disk(true, "mmc")));
        assert!(!is_medium(&disk(false, "nvme")) && !is_medium(&disk(false, "")));
    }
}
