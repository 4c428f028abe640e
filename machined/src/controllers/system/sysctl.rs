//! Settings of the kernel: written, read back, and set back when somebody else changes them. What they were before is kept
//! in /run and comes back when their document goes, also when another machined put it there.
//!
//! Invariant: nothing is written before what it was is kept.

mod apply;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

pub(super) use self::apply::{Host, Kept, Proc};
use self::apply::{Outcome, Wanted};
use crate::events::Events;
use crate::resources::Condition;
use crate::resources::origin::Origin;
use crate::resources::sysctl::{Sysctl, SysctlSpec};
use crate::{blocking, documents, file};

/// The kernel tells nobody of a change: this is how long one stays. A few hundred small reads are not felt.
const LOOK: Duration = Duration::from_secs(30);

/// Why settings were not looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot keep in {} what settings were before, so none is changed", .0.display())]
    Keep(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `system/sysctl`.
pub(super) struct Sysctls<H> {
    host: H,
    path: PathBuf,
    events: Events,
    drifts: BTreeMap<String, u64>,
}

impl<H: Host> Sysctls<H> {
    pub(super) fn new(host: H, path: PathBuf, events: Events) -> Self {
        Self { host, path, events, drifts: BTreeMap::new() }
    }

    fn kept(&self) -> BTreeMap<String, Kept> {
        fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

/// As sysctl(8) prints it: the path with `.` and `/` changed for each other.
fn name(path: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        c => c,
    };
    path.chars().map(swap).collect()
}

impl<H: Host> Controller for Sysctls<H> {
    const NAME: &'static str = "system/sysctl";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        ports.own::<SysctlSpec>().own::<Sysctl>().share::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let Some(documents) = documents::of::<config::kinds::Sysctl>(cx)? else { return Ok(Next::Unready) };
        let mut origins: BTreeMap<String, Origin> = BTreeMap::new();
        let mut wanted = Wanted::new();
        for document in &documents {
            for (key, value) in &document.body.settings {
                let Some(path) = config::kinds::sysctl_path(key) else { continue };
                let spec = SysctlSpec { value: value.0.clone(), origin: document.origin.clone() };
                cx.put(name(&path), spec)?;
                origins.insert(path.clone(), document.origin.clone());
                wanted.insert(path, value.0.clone());
            }
        }

        let (host, file, kept) = (self.host.clone(), self.path.clone(), self.kept());
        let keep = move |kept: &BTreeMap<String, Kept>| {
            let bytes = serde_json::to_vec(kept).map_err(io::Error::other)?;
            file::replace(&file, &bytes, 0o600)
        };
        // Some settings are work for the kernel: memory is compacted, caches are dropped.
        let outcomes = blocking::run(move || apply::apply(&host, &wanted, kept, keep)).await;
        let outcomes = outcomes.map_err(|error| Error::Keep(self.path.clone(), error))?;

        let mut problems: BTreeMap<Origin, Vec<String>> =
            documents.into_iter().map(|document| (document.origin, Vec::new())).collect();
        let mut look = false;
        for (path, outcome) in outcomes {
            let Outcome { value, wanted, before, problem, drifted } = outcome;
            let (name, origin) = (name(&path), origins.get(&path).cloned());
            if let Some(other) = drifted {
                *self.drifts.entry(path.clone()).or_default() += 1;
                self.events.warn("sysctl", format!("{name} had been changed to {other}: set back to {wanted}"));
            }
            if !problem.is_empty() {
                let problem = format!("{name}: {problem}");
                match origin.as_ref().and_then(|origin| problems.get_mut(origin)) {
                    Some(problems) => problems.push(problem),
                    None => tracing::warn!("sysctl: {problem}"),
                }
            }
            look = true;
            let drifts = self.drifts.get(&path).copied().unwrap_or(0);
            cx.put(name, Sysctl { value, wanted, before, problem, drifts, origin })?;
        }
        for (origin, problems) in problems {
            documents::tell(cx, &origin, &problems.join("; "))?;
        }
        Ok(if look { Next::After(LOOK) } else { Next::OnChange })
    }
}

#[cfg(test)]
mod tests;
