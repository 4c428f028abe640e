//! Watching a node go, and come back.
//!
//! ```text
//! asked ──▶ stopping (steps) ──▶ gone ──▶ booting (unmet) ──▶ maintenance | running     reboot
//!                                  └────▶ does not answer any more                       shutdown
//! ```
//! Invariant: a boot is told from the next by its boot id alone, so a node that vanishes between two looks, or comes
//! back before it was seen gone, is understood.

use std::{cell::Cell, time::Duration};

use api::v1::{Phase, PhaseStatus, WatchPhaseRequest, machine_client::MachineClient};
use backon::BackoffBuilder;
use tokio::time::sleep;
use tonic::transport::Channel;

use super::Action;
use crate::{
    exit::{Code, Failure, Result},
    node::{Node, backoff},
    ui::Progress,
};

/// A node that did not answer this often in a row is taken to be off; one attempt could be a restart of its gateway.
const SILENCES: u32 = 4;

/// Between two attempts to reach a node that should be off.
const SILENCE: Duration = Duration::from_secs(1);

/// Looks at the node until it is where it should be; says what that is.
pub(super) async fn until_done(node: &Node, action: Action, old: &str, view: &View<'_>) -> Result<String> {
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
                if let Some(now) = look(channel, action, old, view, &mut silences).await? {
                    return Ok(now);
                }
                delays = backoff().build();
            }
            Err(error) if error.is_transient() => silences += 1,
            Err(error) => return Err(error.into()),
        }
        view.show("does not answer");
        if action == Action::Shutdown && silences >= SILENCES {
            return Ok("does not answer any more (off, or out of reach: only the machine itself shows which)".into());
        }
        let delay = delays.next().unwrap_or(SILENCE);
        sleep(if action == Action::Shutdown { SILENCE } else { delay }).await;
    }
}

/// Follows the phases on one connection, until it breaks or the wait is over.
async fn look(
    channel: Channel,
    action: Action,
    old: &str,
    view: &View<'_>,
    silences: &mut u32,
) -> Result<Option<String>> {
    let request = WatchPhaseRequest { until: Phase::Unspecified.into() };
    // Breaks are what is expected here.
    let Ok(stream) = MachineClient::new(channel).watch_phase(request).await else {
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
        match (action, status.phase()) {
            (Action::Shutdown, _) if again => {
                let remedy = "something starts it: a watchdog, the hypervisor, or a power button";
                return Err(Failure::new(Code::Failed, "it started again instead of staying off", remedy));
            }
            (Action::Reboot, phase @ (Phase::Maintenance | Phase::Running)) if again => {
                return Ok(Some(format!("is back ({})", name(phase))));
            }
            _ => {}
        }
    }
    Ok(None)
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
    }
}

fn describe(status: &PhaseStatus) -> String {
    let phase = name(status.phase());
    match (status.phase(), status.step.as_str(), &status.unmet[..]) {
        (Phase::Stopping, step, _) if !step.is_empty() => format!("{phase}: {step}"),
        (Phase::Booting, _, unmet @ [_, ..]) => format!("{phase}: {}", unmet.join("; ")),
        _ => phase.to_owned(),
    }
}
