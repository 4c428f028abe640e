//! Watching a node come back as one that nobody has configured: it knows nobody any more, and nobody knows it.
//!
//! ```text
//! asked --> stopping --> gone --> wipes (answers nobody) --> maintenance, with a certificate that was never seen
//!                                                      \--> running: something at hand has configured it anew
//! ```
//! Invariant: whom the client trusted before is asked first; of what answers otherwise only boot and phase are read, nothing is
//! sent, and its fingerprint is shown to be compared with the console.

use std::time::Duration;

use api::{
    connect::{Connector, Pin},
    v1::{Phase, PhaseStatus, WatchPhaseRequest, machine_client::MachineClient},
};
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

use super::watch::{View, describe};
use crate::{
    exit::{Code, Failure, Result},
    node::Node,
    target::Target,
};

/// Between two looks at a node that does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// For one that was reached to say its phase.
const ANSWER: Duration = Duration::from_secs(10);

/// Looks until it is there; says what it is now, and what to do next.
pub(super) async fn until_fresh(node: &Node, target: &Target, old: &str, view: &View<'_>) -> Result<String> {
    let mut channel = Some(node.channel.clone());
    loop {
        let known = match channel.take() {
            Some(channel) => Ok(channel),
            None => node.connector.connect().await,
        };
        if let Ok(channel) = known
            && let Some(phase) = settled(channel, old, view).await
        {
            return match phase {
                Phase::Maintenance => Ok(told(node, target)),
                Phase::Recovery => Err(Failure::new(
                    Code::Unhealthy,
                    "it is back as the recovery system",
                    "apictl get boot-record -o yaml says why",
                )),
                _ => Ok("was reset, and is configured again: by its image, a disk or a URL that it was given".into()),
            };
        }
        let stranger = Connector::new(target.endpoint.clone(), Pin::FirstUse);
        if let Ok(channel) = stranger.connect().await
            && let Some(status) = look(channel).await
            && status.boot_id != old
            && status.phase() == Phase::Maintenance
        {
            return Ok(match stranger.fingerprint() {
                Some(now) => fresh(target, &now.to_string()),
                None => told(node, target),
            });
        }
        view.show("does not answer: it stops, starts, or wipes");
        sleep(PAUSE).await;
    }
}

/// Follows the phases until the next boot has settled. None: the connection broke.
async fn settled(channel: Channel, old: &str, view: &View<'_>) -> Option<Phase> {
    let request = WatchPhaseRequest { until: Phase::Unspecified.into() };
    let mut stream = MachineClient::new(channel).watch_phase(request).await.ok()?.into_inner();
    while let Ok(Some(status)) = stream.message().await {
        let again = status.boot_id != old;
        if again || status.phase() == Phase::Stopping {
            view.show(&describe(&status));
        }
        if again && matches!(status.phase(), Phase::Maintenance | Phase::Running | Phase::Recovery) {
            return Some(status.phase());
        }
    }
    None
}

async fn look(channel: Channel) -> Option<PhaseStatus> {
    let request = WatchPhaseRequest { until: Phase::Unspecified.into() };
    let first =
        async { MachineClient::new(channel).watch_phase(request).await.ok()?.into_inner().message().await.ok()? };
    timeout(ANSWER, first).await.ok()?
}

/// Where the client already knew what the node shows now.
fn told(node: &Node, target: &Target) -> String {
    node.connector
        .fingerprint()
        .map_or_else(|| "was reset, and is in maintenance".to_owned(), |now| fresh(target, &now.to_string()))
}

fn fresh(target: &Target, fingerprint: &str) -> String {
    let endpoint = &target.endpoint;
    format!(
        "was reset, and is in maintenance as a machine that nobody knows,\n\
         with the fingerprint\n  {fingerprint}\n\
         compare it with `stele: fingerprint` on its console; then configure it:\n  \
         apictl apply-config -e '{endpoint}' --fingerprint {fingerprint} -f FILE --secrets FILE"
    )
}
