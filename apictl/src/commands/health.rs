//! `apictl health`: whether the nodes are well, and why not.

use std::io::stdout;

use api::v1::{
    ListRequest, PhaseStatus, WatchPhaseRequest, machine_client::MachineClient, resource_client::ResourceClient,
};
use serde_json::{Value, json};
use tonic::Code as Grpc;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::{App, Node},
    objects, stop,
    table::Table,
};

/// Show whether the nodes are well; exit code 7 when one is not
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl health && echo all is well\n\n\
    A node is healthy when its API serves, it is in maintenance or running, and no condition is unmet.")]
pub(crate) struct Args {}

struct Health {
    serving: bool,
    status: PhaseStatus,
    /// What it waits for now.
    waits: Vec<Value>,
}

impl Health {
    fn is_well(&self) -> bool {
        let settled = matches!(stop::name(self.status.phase()), "maintenance" | "running");
        self.serving && settled && self.status.unmet.is_empty()
    }
}

pub(crate) async fn run(app: &App, _: Args) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let mut answers = app.ask(async |node| look(node).await).await?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let all: Vec<Value> = answers.good.iter().map(|(node, health)| document(&node.name, health)).collect();
        if format == Format::Json { objects::json(&mut out, &all)? } else { objects::yaml(&mut out, &all)? }
    } else {
        let mut nodes = Table::new(["NODE", "HEALTHY", "API", "PHASE", "UNMET"]);
        let mut waits = Table::new(["NODE", "WAITS FOR", "REASON"]);
        for (node, health) in &answers.good {
            let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
            let api = if health.serving { "serving" } else { "not serving" };
            let phase = stop::name(health.status.phase());
            let cells = [node.name.clone(), yes(health.is_well()), api.into(), phase.into()];
            nodes.row(cells.into_iter().chain([health.status.unmet.join("; ")]));
            for wait in &health.waits {
                let text = |key: &str| wait[key].as_str().unwrap_or_default().to_owned();
                waits.row([node.name.clone(), text("what"), text("reason")]);
            }
        }
        nodes.print(&mut out)?;
        if !waits.is_empty() {
            waits.print(&mut out)?;
        }
    }
    for (node, health) in answers.good.iter().filter(|(_, health)| !health.is_well()) {
        let why = health.status.unmet.join("; ");
        let why = if why.is_empty() { format!("phase {}", stop::name(health.status.phase())) } else { why };
        let failure = Failure::new(Code::Unhealthy, format!("not healthy: {why}"), "");
        answers.failed.push(failure.at(&node.name));
    }
    answers.end()
}

async fn look(node: &Node) -> Result<Health> {
    let request = HealthCheckRequest { service: String::new() };
    let check = HealthClient::new(node.channel.clone()).check(request).await?.into_inner();
    let mut phases =
        MachineClient::new(node.channel.clone()).watch_phase(WatchPhaseRequest::default()).await?.into_inner();
    let status = phases
        .message()
        .await?
        .ok_or_else(|| Failure::new(Code::Failed, "the node says nothing about its phase", "look at its console"))?;
    Ok(Health { serving: check.status() == ServingStatus::Serving, status, waits: waits(node).await? })
}

async fn waits(node: &Node) -> Result<Vec<Value>> {
    let request = ListRequest { r#type: "wait".into() };
    let mut stream = match ResourceClient::new(node.channel.clone()).list(request).await {
        Ok(stream) => stream.into_inner(),
        // A node of a version that has no such type.
        Err(status) if status.code() == Grpc::NotFound => return Ok(Vec::new()),
        Err(status) => return Err(status.into()),
    };
    let mut waits = Vec::new();
    while let Some(object) = stream.message().await? {
        waits.push(serde_json::from_str(&object.value).unwrap_or_default());
    }
    Ok(waits)
}

fn document(node: &str, health: &Health) -> Value {
    json!({
        "node": node, "healthy": health.is_well(), "serving": health.serving,
        "phase": stop::name(health.status.phase()), "unmet": health.status.unmet, "waits": health.waits,
    })
}
