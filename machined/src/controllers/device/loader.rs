//! Loads kernel modules one at a time, and leaves behind one whose driver hangs: its thread is inside the kernel and cannot
//! be ended.
//!
//! Invariant: a load takes at most [`LIMIT`] of the caller's time; a module whose load has not returned is not loaded again;
//! at most [`HANGING_MAX`] threads hang here, then nothing more is loaded until one returns.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sys::module::Loaded;
use tokio::task::{JoinHandle, JoinSet};

use crate::resources::wait;
use crate::uptime;

/// One load: probing a controller with many slow disks takes some seconds, the kernel's own timeouts for one are near 30.
pub(super) const LIMIT: Duration = wait::DRIVER;
/// So many of machined's 32 threads for blocking calls may be lost to drivers.
const HANGING_MAX: usize = 4;

/// Why a module is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Kernel(#[from] sys::module::Error),
    /// This module, which may be one that another needs.
    #[error("its driver hangs: the kernel has not returned within {} s", LIMIT.as_secs())]
    Hangs,
    #[error("{HANGING_MAX} other drivers hang, so no more are loaded")]
    Full,
}

impl Error {
    /// Worth an event: a driver that finds no device is no fault, and of too many one event tells.
    pub(super) fn is_news(&self) -> bool {
        match self {
            Self::Kernel(error) => !error.no_device(),
            Self::Hangs => true,
            Self::Full => false,
        }
    }
}

/// A load under way.
#[derive(Debug)]
pub(super) struct Load {
    name: String,
    start: Instant,
    pub(super) since_ms: u64,
    job: JoinHandle<Result<Loaded, sys::module::Error>>,
}

/// One that hung and came back after all.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) name: String,
    pub(super) took: Duration,
    pub(super) result: Result<Loaded, sys::module::Error>,
}

/// The loader.
#[derive(Debug)]
pub(super) struct Loader {
    load: fn(&Path, &str) -> Result<Loaded, sys::module::Error>,
    /// By name: the uptime at which its load began.
    hanging: BTreeMap<String, u64>,
    left: JoinSet<Returned>,
}

impl Loader {
    pub(super) fn new(load: fn(&Path, &str) -> Result<Loaded, sys::module::Error>) -> Self {
        Self { load, hanging: BTreeMap::new(), left: JoinSet::new() }
    }

    /// Begins to load, with these parameters.
    #[expect(clippy::disallowed_methods, reason = "the handle is kept: a load that hangs is left and joined later")]
    pub(super) fn begin(&self, name: &str, path: PathBuf, parameters: String) -> Result<Load, Error> {
        if self.hanging.contains_key(name) {
            return Err(Error::Hangs);
        }
        if self.is_full() {
            return Err(Error::Full);
        }
        let load = self.load;
        let job = tokio::task::spawn_blocking(move || load(&path, &parameters));
        Ok(Load { name: name.into(), start: Instant::now(), since_ms: uptime::now_ms(), job })
    }

    /// Goes on without it.
    pub(super) fn leave(&mut self, load: Load) {
        let Load { name, start, since_ms, job } = load;
        self.hanging.insert(name.clone(), since_ms);
        self.left.spawn(async move { Returned { name, result: joined(job.await), took: start.elapsed() } });
    }

    /// No more are loaded.
    pub(super) fn is_full(&self) -> bool {
        self.hanging.len() >= HANGING_MAX
    }

    /// Those that hang, with the uptime at which their load began.
    pub(super) fn hanging(&self) -> &BTreeMap<String, u64> {
        &self.hanging
    }

    /// Waits until one that hung returns; for ever when none does. Cancel-safe.
    pub(super) async fn returned(&mut self) -> Returned {
        loop {
            match self.left.join_next().await {
                Some(Ok(returned)) => {
                    self.hanging.remove(&returned.name);
                    return returned;
                }
                // Cannot be: it was neither cancelled nor does it panic.
                Some(Err(error)) => tracing::error!("a load was lost: {error}"),
                None => std::future::pending().await,
            }
        }
    }
}

impl Load {
    /// The result, if it comes within that time.
    pub(super) fn within(&mut self, time: Duration) -> impl Future<Output = Option<Result<Loaded, Error>>> + Send {
        let done = tokio::time::timeout(time, &mut self.job);
        async { done.await.ok().map(|result| joined(result).map_err(Error::Kernel)) }
    }

    /// How long it has taken.
    pub(super) fn took(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Not joining means that the runtime is stopping.
fn joined(
    result: Result<Result<Loaded, sys::module::Error>, tokio::task::JoinError>,
) -> Result<Loaded, sys::module::Error> {
    result.unwrap_or(Ok(Loaded::Before))
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// Whether the drivers go on.
    static RETURN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    #[expect(clippy::unnecessary_wraps, reason = "the kernel may refuse")]
    fn hang(_: &Path, _: &str) -> Result<Loaded, sys::module::Error> {
        let within = Duration::from_secs(60);
        drop(RETURN.1.wait_timeout_while(RETURN.0.lock().unwrap(), within, |back| !*back).unwrap());
        Ok(Loaded::Now)
    }

    #[tokio::test]
    async fn only_so_many_threads_are_lost_and_one_that_returns_makes_room() {
        let mut loader = Loader::new(hang);
        for number in 0..HANGING_MAX {
            let mut load = loader.begin(&number.to_string(), PathBuf::new(), String::new()).unwrap();
            assert!(load.within(Duration::from_millis(1)).await.is_none());
            loader.leave(load);
        }
        assert!(matches!(loader.begin("0", PathBuf::new(), String::new()), Err(Error::Hangs)));
        assert!(matches!(loader.begin("new", PathBuf::new(), String::new()), Err(Error::Full)));
        *RETURN.0.lock().unwrap() = true;
        RETURN.1.notify_all();
        let back = tokio::time::timeout(Duration::from_secs(30), loader.returned()).await.unwrap();
        assert!(back.result.is_ok() && !loader.hanging().contains_key(&back.name));
        assert!(loader.begin("new", PathBuf::new(), String::new()).is_ok());
    }
}
