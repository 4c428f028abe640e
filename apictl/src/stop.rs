//! Stopping nodes and watching them go, and come back: what `reboot` and `shutdown` share.
//!
//! ```text
//! asked ──▶ stopping (steps) ──▶ gone ──▶ booting (unmet) ──▶ maintenance | running     reboot
//!                                  └────▶ does not answer any more                       shutdown
//! ```
//! Invariant: a boot is told from the next by its boot id alone, so a node that vanishes between two looks, or comes
//! back before it was seen gone, is understood. The node stops by itself; a client that leaves changes nothing.

use std::{cell::Cell, time::Duration};

use api::v1::{
    Phase, PhaseStatus, RebootRequest, ShutdownRequest, VersionRequest, WatchPhaseRequest,
    machine_client::MachineClient,
};
use backon::BackoffBuilder;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use crate::{
    exit::{Code, Failure, Result},
    node::{App, Node, backoff},
    target::Target,
    ui::Progress,
};

/// What the node does in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Reboot,
    Shutdown,
}

/// How it is asked for and watched.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Why; kept in the record of the next boot
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Wait until it is done (the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Return once the node has accepted
    #[arg(long)]
    no_wait: bool,
}

/// The answer to the request; it comes before anything is stopped.
const ACCEPT_WITHIN: Duration = Duration::from_secs(30);

/// Firmware of servers takes minutes.
const REBOOT_WITHIN: Duration = Duration::from_secs(600);

/// The phases of a stop have deadlines of their own on the node; together they stay below this.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(300);

/// A node that did not answer this often in a row is taken to be off; one attempt could be a restart of its gateway.
const SILENCES: u32 = 4;

/// Between two attempts to reach a node that should be off.
const SILENCE: Duration = Duration::from_secs(1);

/// Stops every node of the command, all at the same time.
pub(crate) async fn run(app: &App, action: Action, options: Options) -> Result {
    let targets = app.targets()?;
    if targets.len() > 1 && app.global.nodes.is_empty() && app.global.endpoints.is_empty() {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let message = format!("{} nodes are meant, none was named", names.len());
        return Err(Failure::usage(message, format!("name those to stop: -n {}", names.join(","))));
    }
    let wait = options.wait || !options.no_wait;
    let one = |target: &Target| {
        let (target, reason) = (target.clone(), options.reason.clone());
        async move { stop(app, action, &target, reason, wait).await.map_err(|failure| failure.at(&target.name)) }
    };
    let results = join_all(targets.iter().map(one)).await;
    Failure::all(results.into_iter().filter_map(Result::err).collect())
}

async fn stop(app: &App, action: Action, target: &Target, reason: String, wait: bool) -> Result {
    let started = Instant::now();
    let accepted = async {
        let node = app.connect(target).await?;
        let mut machine = MachineClient::new(node.channel.clone());
        // a request that arrives late, or twice, must not stop the boot after this one
        let expected_boot_id = machine.version(VersionRequest {}).await?.into_inner().boot_id;
        let answer = match action {
            Action::Reboot => machine.reboot(RebootRequest { reason, expected_boot_id }).await?,
            Action::Shutdown => machine.shutdown(ShutdownRequest { reason, expected_boot_id }).await?,
        };
        Ok::<_, Failure>((node, answer.into_inner().boot_id))
    };
    let within = app.global.timeout.map_or(ACCEPT_WITHIN, |limit| limit.min(ACCEPT_WITHIN));
    let late = || Failure::new(Code::Deadline, format!("no answer within {within:?}"), "");
    let (node, boot) = timeout(within, accepted).await.unwrap_or_else(|_| Err(late()))?;
    let name = &node.name;
    app.ui.note(&match action {
        Action::Reboot => format!("{name}: reboots"),
        Action::Shutdown => format!("{name}: shuts down"),
    });
    if !wait {
        return Ok(());
    }
    let view = View { name, progress: app.ui.progress(&format!("waiting for {name}")), last: Cell::default() };
    let limit = app.global.timeout.unwrap_or(match action {
        Action::Reboot => REBOOT_WITHIN,
        Action::Shutdown => SHUTDOWN_WITHIN,
    });
    let done = timeout(limit, watch(&node, action, &boot, &view)).await;
    view.progress.done();
    let now = done.unwrap_or_else(|_| Err(view.late(limit)))?;
    app.ui.note(&format!("{name}: {now} after {:.0?}", started.elapsed()));
    Ok(())
}

/// Looks at the node until it is where it should be; says what that is.
async fn watch(node: &Node, action: Action, old: &str, view: &View<'_>) -> Result<String> {
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
        view.show(&describe(&status));
        let again = status.boot_id != old;
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
struct View<'a> {
    name: &'a str,
    progress: Progress,
    last: Cell<String>,
}

impl View<'_> {
    fn show(&self, now: &str) {
        if self.last.take() != now {
            self.progress.line(&format!("{}: {now}", self.name));
        }
        self.last.set(now.to_owned());
    }

    fn late(&self, limit: Duration) -> Failure {
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
