//! Following a job on a node to its end, over lost connections and the reboot it may ask for.
//!
//! Invariant: the node does the job, whoever watches; what is shown here is what the node says of it, and a client that leaves
//! changes nothing. The exit code tells how it ended.

use std::time::Duration;

use api::{
    v1::Object,
    watch::{Change, Watch},
};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::{
    cell,
    exit::{Code, Failure, Result},
    node::{App, Node, Step, follow},
    text,
    ui::Progress,
};

/// How it stands with a job. What a newer node says besides is left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Job {
    kind: String,
    phase: String,
    step: String,
    done_bytes: u64,
    total_bytes: u64,
    reason: String,
    remedy: String,
    warnings: Vec<String>,
    fingerprint: String,
}

/// What came of a job that did what was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// In the node's words.
    pub(crate) said: String,
    /// Of an install: what the installed system's API is known by; empty where the node does not say.
    pub(crate) fingerprint: String,
}

/// Follows a job until it is over; says what came of it, or fails with the code that stands for it.
pub(crate) async fn until_over(app: &App, node: Node, id: u64, limit: Duration) -> Result<Done> {
    let name = node.name.clone();
    let view = View { name: &name, progress: app.ui.progress(&format!("job {id} on {name}")) };
    let until = Instant::now() + limit;
    let mut seen = Job::default();
    let over = timeout_at(until, watch(app, node, id, &view, &mut seen)).await;
    view.progress.done();
    match over {
        Ok(job) => ended(job?),
        Err(_) => {
            let message = format!("job {id} is not over within {limit:?}; last seen: {}", seen.step);
            Err(Failure::new(Code::Deadline, message, format!("it goes on: apictl get job {id} -w")))
        }
    }
}

async fn watch(app: &App, node: Node, id: u64, view: &View<'_>, seen: &mut Job) -> Result<Job> {
    let (id, name) = (id.to_string(), node.name.clone());
    let mut changes = follow(&app.ui, [(node, Watch::new("job", Some(&id)))]);
    while let Some((_, step)) = changes.next().await {
        // Gone: a node that starts has not read yet what it keeps.
        let Step::Item(Change::Put(object)) = step? else { continue };
        if object.id != id {
            continue;
        }
        let now = read(&object)?;
        view.show(seen, &now);
        *seen = now;
        if seen.phase != "running" {
            return Ok(seen.clone());
        }
    }
    Err(Failure::new(Code::Failed, format!("{name} says nothing more of job {id}"), "apictl jobs"))
}

fn read(object: &Object) -> Result<Job> {
    let odd = |error| Failure::new(Code::Failed, format!("the node's value of the job is no JSON: {error}"), "");
    let mut job: Job = serde_json::from_str(&object.value).map_err(odd)?;
    // A node's words stay on their line: a new one could look like ours.
    for words in [&mut job.reason, &mut job.remedy, &mut job.phase] {
        *words = text::plain(words).into_owned();
    }
    Ok(job)
}

/// What came of it.
fn ended(job: Job) -> Result<Done> {
    let code = match job.phase.as_str() {
        "done" => return Ok(Done { said: job.reason, fingerprint: job.fingerprint }),
        // A check said no: the same again gives the same.
        "refused" => Code::Refused,
        // It ran what it was given, and that was not well.
        "returned" => Code::Unhealthy,
        _ => Code::Failed,
    };
    let what = match job.phase.as_str() {
        "returned" => format!("the {} was not proven, and the node is back on what it ran before", job.kind),
        phase => format!("the {} was {}", job.kind, if phase == "failed" { "not done" } else { phase }),
    };
    Err(Failure::new(code, format!("{what}: {}", job.reason), job.remedy))
}

/// What is shown of one job.
struct View<'a> {
    name: &'a str,
    progress: Progress,
}

impl View<'_> {
    fn show(&self, before: &Job, now: &Job) {
        for warning in now.warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
            self.progress.line(&format!("{}: warning: {warning}", self.name));
        }
        if now.phase == "running" && now.step != before.step {
            self.progress.line(&format!("{}: {}", self.name, now.step));
        }
        let bytes = match (now.done_bytes, now.total_bytes) {
            (_, 0) => String::new(),
            (done, total) => format!(" {} of {}", cell::bytes(done), cell::bytes(total)),
        };
        self.progress.update(&format!("{}: {}{bytes}", self.name, now.step), (now.done_bytes, now.total_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_job_has_its_code() {
        let job = |phase: &str| Job {
            kind: "upgrade".into(),
            phase: phase.into(),
            reason: "why".into(),
            remedy: "do".into(),
            ..Job::default()
        };
        assert_eq!(ended(job("done")).unwrap().said, "why");
        for (phase, code, message) in [
            ("refused", Code::Refused, "the upgrade was refused: why"),
            ("failed", Code::Failed, "the upgrade was not done: why"),
            ("cancelled", Code::Failed, "the upgrade was cancelled: why"),
            (
                "returned",
                Code::Unhealthy,
                "the upgrade was not proven, and the node is back on what it ran before: why",
            ),
            ("something newer", Code::Failed, "the upgrade was something newer: why"),
        ] {
            let failure = ended(job(phase)).unwrap_err();
            assert_eq!((failure.code, failure.message.as_str(), failure.remedy.as_str()), (code, message, "do"));
        }
    }
}
