//! The step that pulls: `installer pull` of the running image, which alone reads what a registry sends.
//!
//! Invariant: passwords are in its standard input and nowhere else. It has no power over the machine: a user of its own, no
//! capability, its folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::image::Reference;
use config::image::pull::{Check, Key, Line, Pulled, Refusal, Step};
use reconcile::Store;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use self::order::Running;
use super::work::{Failed, Job};
use crate::configuration::Active;
use crate::image::Image;
use crate::program::{Call, Program, Programs};
use crate::resources::config_status::State;
use crate::resources::job::Phase;
use crate::trace::chain;

mod folder;
mod order;

pub use order::Facts;

/// For the configuration to be found after a boot.
const CONFIGURATION: Duration = Duration::from_secs(120);
/// The uid of programs that pull and check, and of nobody else.
pub(super) const USER: u32 = 101;
const PROGRAM: Program<'static> = Program::Image("/usr/bin/installer");
/// Public keys that the image trusts.
const KEYS: &str = "/usr/lib/stele/image-keys";
/// Without what it writes to memory.
const MEMORY: u64 = 128 << 20;
/// For what may go well later: a registry that is started with the machine, a line that is cut.
const AGAIN: Duration = Duration::from_secs(900);
/// Between two tries, the longest.
const PAUSE: Duration = Duration::from_secs(60);
/// Beside the time that the program is told it has.
const GRACE: Duration = Duration::from_secs(60);

/// Pulls images; what it works with.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Puller {
    pub programs: Programs,
    pub image: Image,
    pub store: Store,
    pub run: PathBuf,
}

/// The configuration, once it is known what it is.
pub(super) async fn configuration(active: &watch::Receiver<Arc<Active>>) -> Result<Arc<Active>, Failed> {
    let mut active = active.clone();
    let known = timeout(CONFIGURATION, active.wait_for(|active| active.decided())).await;
    let active = match known {
        Ok(Ok(active)) => active.clone(),
        _ => return Err(Failed::because("it is not known what the configuration is", "apictl get config-status")),
    };
    match active.state {
        State::Unreadable => {
            let reason = format!("the configuration cannot be read: {}", active.why);
            Err(Failed::because(reason, "apictl get conditions"))
        }
        _ => Ok(active),
    }
}

impl Puller {
    pub(super) async fn pull(
        &self,
        job: &Job,
        image: &Reference,
        active: &Active,
        facts: &Facts,
    ) -> Result<Pulled, Failed> {
        let folder = self.folder().await?;
        let version = self.image.version.parse().map_err(|error| {
            let reason = format!("this image does not know its version: {error}");
            Failed::because(reason, "report it: apictl support")
        })?;
        let running = Running {
            architecture: &self.image.arch,
            version,
            state: active.state,
            documents: &active.documents,
            secrets: &active.secrets,
            keys: keys(Path::new(KEYS)),
        };
        let order = order::order(image, running, facts, &folder.room())?;
        let input = serde_json::to_vec(&order).map(Zeroizing::new);
        let input = input.map_err(|error| Failed::because(format!("the order is no JSON: {error}"), ""))?;
        let within = Duration::from_secs(order.limits.seconds) + GRACE;
        let memory = MEMORY + if folder.memory { folder.bytes() } else { 0 };
        let until = Instant::now() + AGAIN;
        let mut pause = Duration::from_secs(2);
        loop {
            folder.open_for(USER).await?;
            let call = Call {
                program: PROGRAM,
                arguments: &["pull"],
                input: &input,
                confined: Some(USER),
                memory,
                pids: 64,
                within,
            };
            let mut end = None;
            let ended = self.programs.call(&call, |line| hear(job, line, &mut end)).await;
            folder.close().await?;
            let ended = ended.map_err(|error| Failed::because(chain(&error), "apictl logs machined"))?;
            match end {
                Some(Ok(pulled)) if ended.code() == Some(0) => {
                    // Without what was there before.
                    job.moved("fetch", pulled.fetched);
                    return Ok(*pulled);
                }
                Some(Err(refusal)) if passes(&refusal) && Instant::now() + pause < until => {
                    job.warn(&format!("{} (tried again)", refusal.message));
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE);
                }
                Some(Err(refusal)) => return Err(refused(&refusal)),
                _ => return Err(Failed::because(format!("installer pull {}", ended.told()), "apictl logs machined")),
            }
        }
    }
}

type End = Result<Box<Pulled>, Refusal>;

/// One line of the program.
fn hear(job: &Job, line: &str, end: &mut Option<End>) {
    match serde_json::from_str(line) {
        Ok(Line::Progress(now)) => {
            job.at(match now.step {
                Step::Resolve => "resolve",
                Step::Fetch => "fetch",
                Step::Check => "verify",
            });
            job.bytes(now.done, now.total);
        }
        Ok(Line::Warning(warning)) => job.warn(&format!("{}: {}", word(warning.check), warning.message)),
        Ok(Line::Pulled(pulled)) => *end = Some(Ok(pulled)),
        Ok(Line::Refused(refusal)) => *end = Some(Err(refusal)),
        Err(error) => tracing::warn!("installer says what nobody understands: {error}"),
    }
}

/// Why a program of the installer says no, when this line says it.
pub(super) fn refusal(line: &str) -> Option<Failed> {
    match serde_json::from_str(line) {
        Ok(Line::Refused(refusal)) => Some(refused(&refusal)),
        _ => None,
    }
}

fn refused(refusal: &Refusal) -> Failed {
    let phase = if refusal.again { Phase::Failed } else { Phase::Refused };
    let reason = format!("{}: {}", word(refusal.check), refusal.message);
    Failed { phase, reason, remedy: refusal.remedy.clone() }
}

/// Whether it may pass while nobody does anything: a registry that is away comes back, a full disk stays full.
fn passes(refusal: &Refusal) -> bool {
    refusal.again && matches!(refusal.check, Check::Unreachable | Check::Time)
}

/// A check as it is written on the wire.
fn word(check: Check) -> String {
    serde_json::to_value(check).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The keys in a folder, by their files' names; what cannot be read is said and left out.
fn keys(folder: &Path) -> Vec<Key> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut keys = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_none_or(|extension| extension != "pub") {
            continue;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match fs::read_to_string(&path) {
            Ok(pem) => keys.push(Key { name, pem }),
            Err(error) => tracing::warn!("the key {} cannot be read: {error}", path.display()),
        }
    }
    keys.sort_by(|a, b| a.name.cmp(&b.name));
    keys
}
