//! Stopping nodes: what `reboot`, `shutdown`, `rollback` and `reset` share.
//!
//! Invariant: only the boot that was looked at is stopped, and with several nodes only those that were named. The node
//! stops by itself; a client that leaves changes nothing.

mod fresh;
mod watch;

use std::time::Duration;

use api::v1::{
    Phase, RebootRequest, ResetRequest, ResetScope, RollbackRequest, ShutdownRequest, VersionRequest,
    machine_client::MachineClient,
};
use futures_util::future::join_all;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use self::watch::name;
use self::watch::{Goal, View};
use crate::{
    exit::{Code, Failure, Result},
    node::App,
    target::Target,
};

/// What the node does in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Reboot,
    /// A reboot into the recovery system.
    Recovery,
    /// A reboot into this generation; 0: the other one that was proven.
    Rollback(u32),
    Shutdown,
    /// A reboot that wipes on the way.
    Reset(Wipe),
}

/// What a reset is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wipe {
    pub(crate) scope: ResetScope,
    pub(crate) force: bool,
    /// Switched off afterwards.
    pub(crate) off: bool,
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

/// The nodes to stop: with several only those that were named.
pub(crate) fn targets(app: &App) -> Result<Vec<Target>> {
    let targets = app.targets()?;
    if targets.len() > 1 && app.global.nodes.is_empty() && app.global.endpoints.is_empty() {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let message = format!("{} nodes are meant, none was named", names.len());
        return Err(Failure::usage(message, format!("name those to stop: -n {}", names.join(","))));
    }
    Ok(targets)
}

/// Stops every node of the command, all at the same time.
pub(crate) async fn run(app: &App, action: Action, options: Options) -> Result {
    let targets = targets(app)?;
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
        let reboot =
            |recovery| RebootRequest { reason: reason.clone(), expected_boot_id: expected_boot_id.clone(), recovery };
        let (boot, goal) = match action {
            Action::Reboot => (machine.reboot(reboot(false)).await?.into_inner().boot_id, Goal::Up),
            Action::Recovery => (machine.reboot(reboot(true)).await?.into_inner().boot_id, Goal::Recovery),
            Action::Rollback(generation) => {
                let request = RollbackRequest { generation, reason, expected_boot_id };
                let answer = machine.rollback(request).await?.into_inner();
                (answer.boot_id, Goal::Generation(answer.generation))
            }
            Action::Shutdown => {
                let answer = machine.shutdown(ShutdownRequest { reason, expected_boot_id }).await?;
                (answer.into_inner().boot_id, Goal::Off)
            }
            Action::Reset(Wipe { scope, force, off }) => {
                let request = ResetRequest { scope: scope.into(), force, power_off: off, reason, expected_boot_id };
                let goal = match (off, scope) {
                    (true, _) => Goal::WipedOff,
                    (false, ResetScope::Ephemeral) => Goal::Up,
                    (false, _) => Goal::Fresh,
                };
                (machine.reset(request).await?.into_inner().boot_id, goal)
            }
        };
        Ok::<_, Failure>((node, boot, goal))
    };
    let within = app.global.timeout.map_or(ACCEPT_WITHIN, |limit| limit.min(ACCEPT_WITHIN));
    let late = || Failure::new(Code::Deadline, format!("no answer within {within:?}"), "");
    let (node, boot, goal) = timeout(within, accepted).await.unwrap_or_else(|_| Err(late()))?;
    let name = &node.name;
    app.ui.note(&match goal {
        Goal::Up => format!("{name}: reboots"),
        Goal::Recovery => format!("{name}: reboots into the recovery system"),
        Goal::Generation(number) => format!("{name}: reboots into generation {number}"),
        Goal::Off => format!("{name}: shuts down"),
        Goal::Fresh => format!("{name}: reboots, and wipes before it uses anything"),
        Goal::WipedOff => format!("{name}: reboots, wipes before it uses anything, and switches off"),
    });
    if !wait {
        return Ok(());
    }
    let view = View::new(name, app.ui.progress(&format!("waiting for {name}")));
    // It was accepted; a machine with little to stop may be gone before it can be watched.
    view.show(watch::name(Phase::Stopping));
    let limit = app.global.timeout.unwrap_or(if goal.is_off() { SHUTDOWN_WITHIN } else { REBOOT_WITHIN });
    // One deadline for both waits: it counts from the start.
    let watched = async {
        match goal {
            Goal::Fresh => fresh::until_fresh(&node, target, &boot, &view).await,
            _ => watch::until_done(&node, goal, &boot, &view).await,
        }
    };
    let done = timeout_at(started + limit, watched).await;
    view.done();
    let now = done.unwrap_or_else(|_| Err(view.late(limit)))?;
    let (first, more) = now.split_once('\n').unwrap_or((now.as_str(), ""));
    app.ui.note(&format!("{name}: {first} after {:.0?}", started.elapsed()));
    more.lines().for_each(|line| app.ui.note(line));
    Ok(())
}
