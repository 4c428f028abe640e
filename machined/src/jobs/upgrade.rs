//! The upgrade: another version beside what runs, on trial, kept once it is proven.
//!
//! ```text
//! pull (installer pull: resolve, fetch, verify) -> check (the documents, by the new image's own program)
//!   -> stage (look -> point of no return -> write) -> trial -> reboot -> prove -> Done | Returned
//! ```
//! Invariant: up to the point of no return, which lies within `stage`, nothing is changed that the machine boots; each step may be
//! begun again. Whether the reboot has happened is told by the boot's id, and whether the trial was begun by the boot state, so a
//! machine that loses power in between does the same. In the recovery system nothing goes on that was begun elsewhere.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::image::Reference;
use config::image::pull::Pulled;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reconcile::Store;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::pull::{self, Facts as Known, Puller};
use super::record::Request;
use super::work::{Failed, Job, Work};
use crate::configuration::Active;
use crate::image::Image;
use crate::link::Link;
use crate::program::{Call, Program, Programs};
use crate::stop;
use crate::trace::chain;

pub use super::pull::Facts;

/// The new program reads some documents: it takes moments, on the slowest machine too.
const CHECK: Duration = Duration::from_secs(60);
const CHECK_MEMORY: u64 = 128 << 20;
/// In what it leaves for the time after the reboot.
const STAGED: &str = "staged";
/// As well: the boot in which it was begun.
const BEGUN: &str = "begun";
/// Its last step.
pub(super) const PROVE: &str = "prove";

/// What there is to boot, as an upgrade changes it.
pub trait Generations: Send + Sync + 'static {
    /// What an image must fit.
    fn facts(&self) -> BoxFuture<'_, Result<Facts, Failed>>;

    /// Whether this one may be tried: refuses what failed here before, unless `retry_failed`. Some generation: it runs here
    /// already, blessed and whole, and nothing is to be done.
    fn look<'a>(
        &'a self,
        job: &'a Job,
        pulled: &'a Pulled,
        retry_failed: bool,
    ) -> BoxFuture<'a, Result<Option<u32>, Failed>>;

    /// Puts it into the slot that is neither running nor current, and reads it back. The job is past its point of no return before
    /// anything is changed. Returns the new generation.
    fn stage<'a>(&'a self, job: &'a Job, pulled: &'a Pulled) -> BoxFuture<'a, Result<u32, Failed>>;

    /// Whether it is staged and its trial was never begun.
    fn waits(&self, generation: u32) -> BoxFuture<'_, bool>;

    /// Leaves the disk alone, and forgets what was staged if it is not going to be tried.
    fn tidy(&self) -> BoxFuture<'_, ()>;

    /// The next boot starts it, on trial.
    fn start_trial(&self, generation: u32) -> BoxFuture<'_, Result<(), Failed>>;

    /// Waits until it is blessed, or is known not to be: called in the boots after the first reboot, in the new generation and in
    /// the one that it came back to.
    fn outcome(&self, generation: u32) -> BoxFuture<'_, Result<(), Failed>>;
}

/// What an upgrade works with.
#[derive(Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Parts {
    pub programs: Programs,
    pub image: Image,
    pub store: Store,
    pub run: PathBuf,
    pub boot_id: String,
    pub active: watch::Receiver<Arc<Active>>,
    pub stop: stop::Handle,
    pub init: Link,
    pub generations: Arc<dyn Generations>,
}

/// The work.
pub struct Upgrade {
    parts: Parts,
}

/// What is left for the time after the reboot.
#[derive(Debug, Serialize, Deserialize)]
struct Staged {
    generation: u32,
    version: String,
    /// The boot in which it was staged.
    boot: String,
}

impl Upgrade {
    /// With these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    fn puller(&self) -> Puller {
        let Parts { programs, image, store, run, .. } = self.parts.clone();
        Puller { programs, image, store, run }
    }

    async fn upgrade(&self, job: &Job) -> Result<String, Failed> {
        let Parts { generations, boot_id, image, .. } = &self.parts;
        let begun = job.left::<String>(BEGUN).unwrap_or_else(|| boot_id.clone());
        job.leave(BEGUN, &begun).await?;
        let astray = image.recovery && begun != *boot_id;
        let mut staged = match job.left::<Staged>(STAGED) {
            Some(staged) => staged,
            None if astray => return Err(in_recovery()),
            None => {
                job.reopen().await?;
                match self.stage(job).await? {
                    Ok(staged) => staged,
                    Err(nothing) => return Ok(nothing),
                }
            }
        };
        // The power went before its trial was begun.
        if staged.boot != *boot_id && generations.waits(staged.generation).await {
            if astray {
                return Err(in_recovery());
            }
            staged.boot.clone_from(boot_id);
            job.leave(STAGED, &staged).await?;
        }
        if staged.boot == *boot_id {
            job.step("trial").await?;
            generations.start_trial(staged.generation).await?;
            job.step("reboot").await?;
            return self.reboot(job, &staged).await;
        }
        job.step(PROVE).await?;
        generations.outcome(staged.generation).await?;
        Ok(format!("version {} runs and is blessed: generation {}", staged.version, staged.generation))
    }

    /// Everything up to the point of no return; `Err` says that there is nothing to do.
    async fn stage(&self, job: &Job) -> Result<Result<Staged, String>, Failed> {
        let Request::Upgrade(wanted) = job.request() else {
            return Err(Failed::because("this is no upgrade", "report it: apictl support"));
        };
        let Parts { generations, boot_id, .. } = &self.parts;
        let image: Reference = wanted.image.parse().map_err(|why: String| Failed::refused(why, ""))?;
        job.step("pull").await?;
        let active = pull::configuration(&self.parts.active).await?;
        let known = self.known(generations.facts().await?, wanted.allow_downgrade);
        let pulled = self.puller().pull(job, &image, &active, &known).await?;
        let version = pulled.manifest.version.to_string();
        if let Some(generation) = generations.look(job, &pulled, wanted.retry_failed).await? {
            return Ok(Err(format!("version {version} runs already, blessed: generation {generation}")));
        }
        job.step("check").await?;
        self.check(&active, &pulled).await?;
        job.step("stage").await?;
        let generation = generations.stage(job, &pulled).await?;
        let staged = Staged { generation, version, boot: boot_id.clone() };
        job.leave(STAGED, &staged).await?;
        Ok(Ok(staged))
    }

    /// With what the image itself says: META knows no floor before the first upgrade was proven. What is on trial upgrades nothing.
    fn known(&self, facts: Facts, allow_downgrade: bool) -> Known {
        let floor = facts.floor.max(self.parts.image.floor.clone());
        Known { floor, allow_downgrade, ..facts }
    }

    /// Whether the new version reads the documents that it would start with: asked of its own program, which may do nothing.
    async fn check(&self, active: &Active, pulled: &Pulled) -> Result<(), Failed> {
        let file = pulled.files.iter().find(|file| file.name == "installer");
        let file = file.ok_or_else(|| Failed::refused("the image holds no program installer", ""))?;
        let documents = config::format(&active.documents);
        let call = Call {
            program: Program::Part { path: file.path.as_ref(), digest: file.digest.hex(), name: "installer" },
            arguments: &["check"],
            input: documents.as_bytes(),
            confined: Some(pull::USER),
            memory: CHECK_MEMORY,
            pids: 32,
            within: CHECK,
        };
        let mut refused = None;
        let ended = self.parts.programs.call(&call, |line| refused = pull::refusal(line)).await;
        let ended = ended.map_err(|error| Failed::because(chain(&error), "apictl logs machined"))?;
        match (ended.code(), refused) {
            (Some(0), _) => Ok(()),
            (_, Some(refused)) => Err(refused),
            _ => {
                let reason =
                    format!("configuration: version {} cannot use it: {}", pulled.manifest.version, ended.told());
                Err(Failed::refused(reason, "change the documents, or choose another version"))
            }
        }
    }

    /// Asks init for it, so that it happens even if machined dies, and waits for the end of this boot.
    async fn reboot(&self, job: &Job, staged: &Staged) -> Result<String, Failed> {
        let Parts { stop, init, .. } = &self.parts;
        let cause = format!("upgrade to {} by {} (job {})", staged.version, job.by(), job.record().id);
        if let Err(error) = init.stopping(stop::Action::Reboot.into()).await {
            // It is asked again by the next machined.
            tracing::error!("init cannot be told of the reboot: {}", chain(&error));
        }
        stop.request(stop::Request::new(stop::Action::Reboot, cause));
        std::future::pending().await
    }
}

fn in_recovery() -> Failed {
    let reason = "the machine was started into its recovery system meanwhile, where nobody asked for it";
    Failed::because(reason, "reboot first (apictl reboot), or ask for it here: apictl upgrade")
}

impl Work for Upgrade {
    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<String, Failed>> {
        self.upgrade(job).boxed()
    }

    fn tidy<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, ()> {
        async move {
            self.puller().remove_folders().await;
            self.parts.generations.tidy().await;
        }
        .boxed()
    }
}
