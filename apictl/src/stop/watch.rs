//! Watching a node go, and come back.
//!
//! ```text
//! asked ──▶ stopping (steps) ──▶ gone ──▶ booting (unmet) ──▶ maintenance | running | recovery   reboot, rollback
//!                                  └────▶ does not answer any more                                shutdown
//! ```
//! Invariant: a boot is told from the next by its boot id alone, so a node that vanishes between two looks, or comes
//! back before it was seen gone, is understood.

use std::{cell::Cell, time::Duration};

use api::v1::{
    Phase, PhaseStatus, WatchPhaseRequest, WatchRequest, machine_client::MachineClient, resource_client::ResourceClient,
};
use backon::BackoffBuilder;
use serde::Deserialize;
use tokio::time::sleep;
use tonic::transport::Channel;

use crate::{
    exit::{Code, Failure, Result},
    node::{Node, backoff},
    ui::Progress,
};

/// A node that did not answer this often in a row is taken to be off; one attempt could be a restart of its gateway.
const SILENCES: u32 = 4;

/// Between two attempts to reach a node that should be off.
const SILENCE: Duration = Duration::from_secs(1);

/// What a stop is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Off,
    /// Back, with what it runs by itself.
    Up,
    /// Back, as the recovery system.
    Recovery,
    /// Back, with this generation.
    Generation(u32),
    /// Back, as one that was never configured.
    Fresh,
    /// Back for as long as it takes to wipe; it answers nobody then.
    WipedOff,
}

impl Goal {
    pub(super) fn is_off(self) -> bool {
        matches!(self, Self::Off | Self::WipedOff)
    }
}

/// Looks at the node until it is where it should be; says what that is.
pub(super) async fn until_done(node: &Node, goal: Goal, old: &str, view: &View<'_>) -> Result<String> {
    let mut delays = backoff().build();
    let mut silences = 0;
    let mut channel = Some(node.channel.clone());
    loop {
        let connected = match channel.take() {
            Some(channel) => Ok(channel),
            None => node.connector.connect().await,
        };
        match connected {
            Ok(channel) => {
                if let Some(now) = look(channel, goal, old, view, &mut silences).await? {
                    return Ok(now);
                }
                delays = backoff().build();
            }
            Err(error) if error.is_transient() => silences += 1,
            Err(error) => return Err(error.into()),
        }
        view.show("does not answer");
        if goal.is_off() && silences >= SILENCES {
            let told = match goal {
                Goal::WipedOff => {
                    "does not answer any more (it wipes at its next start, and then switches off: its console shows both)"
                }
                _ => "does not answer any more (off, or out of reach: only the machine itself shows which)",
            };
            return Ok(told.into());
        }
        let delay = delays.next().unwrap_or(SILENCE);
        sleep(if goal.is_off() { SILENCE } else { delay }).await;
    }
}

/// Follows the phases on one connection, until it breaks or the wait is over.
async fn look(channel: Channel, goal: Goal, old: &str, view: &View<'_>, silences: &mut u32) -> Result<Option<String>> {
    let request = WatchPhaseRequest { until: Phase::Unspecified.into() };
    // Breaks are what is expected here.
    let Ok(stream) = MachineClient::new(channel.clone()).watch_phase(request).await else {
        *silences += 1;
        return Ok(None);
    };
    let mut stream = stream.into_inner();
    while let Ok(Some(status)) = stream.message().await {
        *silences = 0;
        let again = status.boot_id != old;
        // The stop was accepted: what the node was before is no news.
        if again || status.phase() == Phase::Stopping {
            view.show(&describe(&status));
        }
        match (goal, status.phase()) {
            (Goal::WipedOff, Phase::Booting | Phase::Stopping) => {}
            (Goal::Off | Goal::WipedOff, _) if again => {
                let remedy = "something starts it: a watchdog, the hypervisor, or a power button";
                return Err(Failure::new(Code::Failed, "it started again instead of staying off", remedy));
            }
            (_, phase @ (Phase::Maintenance | Phase::Running | Phase::Recovery)) if again => {
                return back(channel, goal, phase).await;
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The node is back: whether it is what it should be. None: it went again before it said so.
async fn back(channel: Channel, goal: Goal, phase: Phase) -> Result<Option<String>> {
    const WHY: &str = "apictl get boot-record -o yaml says why";
    let other = |message: String| Err(Failure::new(Code::Unhealthy, message, WHY));
    match (goal, phase) {
        (Goal::Recovery, Phase::Recovery) => Ok(Some("is back as the recovery system".into())),
        (Goal::Recovery, _) => other(format!("it is back ({}), and not as the recovery system", name(phase))),
        (_, Phase::Recovery) => other("it is back as the recovery system".into()),
        (Goal::Generation(wanted), _) => match runs(channel).await {
            Some(now) if now == wanted => Ok(Some(format!("is back ({}) with generation {wanted}", name(phase)))),
            Some(now) => other(format!("it is back with generation {now}, and not with {wanted}")),
            None => Ok(None),
        },
        _ => Ok(Some(format!("is back ({})", name(phase)))),
    }
}

/// The generation that runs, as soon as the node says so. None: the connection broke.
async fn runs(channel: Channel) -> Option<u32> {
    #[derive(Deserialize)]
    struct Generation {
        marks: Vec<String>,
    }
    let request = WatchRequest { r#type: "generation".into(), ..WatchRequest::default() };
    let mut stream = ResourceClient::new(channel).watch(request).await.ok()?.into_inner();
    loop {
        let Some(object) = stream.message().await.ok()??.object else { continue };
        let Ok(Generation { marks }) = serde_json::from_str(&object.value) else { continue };
        if marks.iter().any(|mark| mark == "running") {
            return object.id.parse().ok();
        }
    }
}

/// What is shown of one node's stop.
pub(super) struct View<'a> {
    name: &'a str,
    progress: Progress,
    last: Cell<String>,
}

impl<'a> View<'a> {
    pub(super) fn new(name: &'a str, progress: Progress) -> Self {
        Self { name, progress, last: Cell::default() }
    }

    pub(super) fn done(&self) {
        self.progress.done();
    }

    pub(super) fn show(&self, now: &str) {
        if self.last.take() != now {
            self.progress.line(&format!("{}: {now}", self.name));
        }
        self.last.set(now.to_owned());
    }

    pub(super) fn late(&self, limit: Duration) -> Failure {
        let last = self.last.take();
        let message = format!("not done within {limit:?}; last seen: {last}");
        Failure::new(Code::Deadline, message, "the node goes on by itself; its console shows how far it is")
    }
}

/// A phase as it is written everywhere.
pub(crate) fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => "unknown",
        Phase::Booting => "booting",
        Phase::Maintenance => "maintenance",
        Phase::Running => "running",
        Phase::Stopping => "stopping",
        Phase::Recovery => "recovery",
    }
}

pub(super) fn describe(status: &PhaseStatus) -> String {
    let phase = name(status.phase());
    match (status.phase(), status.step.as_str(), &status.unmet[..]) {
        (Phase::Stopping, step, _) if !step.is_empty() => format!("{phase}: {step}"),
        (Phase::Booting, _, unmet @ [_, ..]) => format!("{phase}: {}", unmet.join("; ")),
        _ => phase.to_owned(),
    }
}
