//! What one node gives.

use std::time::Duration;

use api::v1::{
    Controller, EntriesRequest, HeadRequest, HistoryRequest, KernelLogRequest, LogChunk, ReadRequest, Revision,
    ServiceLogRequest, VersionRequest, audit_client::AuditClient, config_client::ConfigClient, log_client::LogClient,
    machine_client::MachineClient,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::Streaming;

use super::blank::without_keys;
use crate::{
    commands::audit::Shown,
    exit::{Code, Failure, Result},
    node::Node,
    snapshot::{self, Resource},
};

/// For each part: a busy emulated node needs some seconds for a long log.
const PART: Duration = Duration::from_secs(60);
/// Of one log: what a node keeps is less.
const LOG_MAX: usize = 32 << 20;
/// Records of the audit: days of an operator at work, and 200 KiB.
const RECORDS: u64 = 1000;

/// Files by their path below the node's folder, and why others are not there.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) files: Vec<(String, String)>,
    pub(super) missing: Vec<String>,
}

impl Parts {
    fn add(&mut self, path: &str, part: Result<String>) {
        match part {
            Ok(text) => self.files.push((path.to_owned(), without_keys(&text))),
            Err(failure) => self.missing.push(format!("{path}: {}", failure.message)),
        }
    }
}

/// Asks for everything, one part after the other.
pub(super) async fn collect(node: &Node) -> Parts {
    let mut parts = Parts::default();
    parts.add("versions.json", within(versions(node)).await);
    let types = match within(snapshot::types(node)).await {
        Ok(types) => types,
        Err(failure) => {
            parts.add("resources/", Err(failure));
            Vec::new()
        }
    };
    let mut services = vec!["machined".to_owned()];
    for of in &types {
        let objects =
            within(snapshot::list(node, &of.name)).await.map(|all| all.iter().map(Resource::of).collect::<Vec<_>>());
        if let ("service", Ok(all)) = (&*of.name, &objects) {
            services.extend(all.iter().map(|service| service.id.clone()).filter(|id| id != "machined"));
        }
        parts.add(
            &format!("resources/{}.json", of.name),
            objects.map(|all| pretty(&Value::from_iter(all.iter().map(whole)))),
        );
    }
    let graph = within(snapshot::controllers(node)).await;
    let (controllers, dot) = match graph {
        Ok(graph) => (Ok(pretty(&Value::from_iter(graph.controllers.iter().map(controller)))), Ok(graph.dot)),
        Err(failure) => (Err(failure), Ok(String::new())),
    };
    parts.add("controllers.json", controllers);
    parts.add("controllers.dot", dot);
    for service in services {
        // Names become files: what a node says is not trusted with the path.
        let name: String =
            service.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        parts.add(&format!("logs/{name}.log"), within(service_log(node, service)).await);
    }
    parts.add("dmesg.log", within(kernel_log(node)).await);
    parts.add("config/documents.yaml", within(documents(node, 0)).await);
    let history = within(history(node)).await;
    let ids: Vec<u64> = history.iter().flatten().map(|revision| revision.id).collect();
    parts.add("config/history.json", history.map(|all| pretty(&Value::from_iter(all.iter().map(revision)))));
    // What failed is seldom what is in effect: it was given up, or waits.
    for id in ids {
        parts.add(&format!("config/revisions/{id}.yaml"), within(documents(node, id)).await);
    }
    parts.add("audit-head.json", within(audit_head(node)).await);
    parts.add("audit.json", within(audit(node)).await);
    parts
}

async fn within<T>(part: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Failure::new(Code::Deadline, format!("no answer within {} s", PART.as_secs()), "");
    timeout(PART, part).await.map_err(late)?
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn whole(one: &Resource) -> Value {
    json!({ "type": one.kind, "id": one.id, "owner": one.owner, "tearingDown": one.tearing_down, "value": one.value })
}

fn controller(of: &Controller) -> Value {
    json!({
        "name": of.name, "watches": of.watches, "holds": of.holds, "owns": of.owns, "shares": of.shares,
        "state": of.state().as_str_name(), "cycles": of.cycles, "failures": of.failures, "lastError": of.last_error,
        "nextRetryMs": of.next_retry_ms,
    })
}

async fn versions(node: &Node) -> Result<String> {
    let of = MachineClient::new(node.channel.clone()).version(VersionRequest {}).await?.into_inner();
    Ok(pretty(&json!({
        "collected": Timestamp::now().to_string(), "apictl": env!("CARGO_PKG_VERSION"),
        "version": of.version, "commit": of.commit, "built": of.built, "kernel": of.kernel, "arch": of.arch,
        "machineId": of.machine_id, "bootId": of.boot_id, "hostname": of.hostname,
    })))
}

async fn service_log(node: &Node, service: String) -> Result<String> {
    let request = ServiceLogRequest { service, ..ServiceLogRequest::default() };
    lines(LogClient::new(node.channel.clone()).service(request).await?.into_inner()).await
}

async fn kernel_log(node: &Node) -> Result<String> {
    lines(LogClient::new(node.channel.clone()).kernel(KernelLogRequest::default()).await?.into_inner()).await
}

/// A log as text, each line with its time.
async fn lines(mut chunks: Streaming<LogChunk>) -> Result<String> {
    let mut text = String::new();
    while let Some(chunk) = chunks.message().await? {
        if chunk.dropped_bytes + chunk.dropped_records > 0 {
            text +=
                &format!("--- {} bytes, {} records are lost here ---\n", chunk.dropped_bytes, chunk.dropped_records);
        }
        for line in chunk.lines {
            let time = Timestamp::from_nanosecond(i128::from(line.time_unix_ns)).unwrap_or_default();
            text += &format!("{time:.3} {}\n", String::from_utf8_lossy(&line.text));
        }
        if text.len() > LOG_MAX {
            text += "--- cut here ---\n";
            break;
        }
    }
    Ok(text)
}

async fn documents(node: &Node, revision: u64) -> Result<String> {
    Ok(ConfigClient::new(node.channel.clone()).read(ReadRequest { revision }).await?.into_inner().documents)
}

async fn history(node: &Node) -> Result<Vec<Revision>> {
    Ok(ConfigClient::new(node.channel.clone()).history(HistoryRequest {}).await?.into_inner().revisions)
}

fn revision(of: &Revision) -> Value {
    json!({
        "id": of.id, "digest": of.digest, "createdUnix": of.created_unix, "author": of.author, "message": of.message,
        "current": of.current, "blessed": of.blessed, "staged": of.staged, "trial": of.trial,
        "unreadable": of.unreadable, "secrets": of.secrets,
    })
}

/// The last records.
async fn audit(node: &Node) -> Result<String> {
    let mut client = AuditClient::new(node.channel.clone());
    let head = client.head(HeadRequest {}).await?.into_inner();
    let from = (head.sequence + 1).saturating_sub(RECORDS).max(1);
    let mut entries = client.entries(EntriesRequest { from, follow: false }).await?.into_inner();
    let mut all = Vec::new();
    while let Some(entry) = entries.message().await? {
        all.push(Shown::of(&entry).document(None));
    }
    Ok(pretty(&Value::from(all)))
}

async fn audit_head(node: &Node) -> Result<String> {
    let head = AuditClient::new(node.channel.clone()).head(HeadRequest {}).await?.into_inner();
    let hash: String = head.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let (sequence, oldest, dropped) = (head.sequence, head.oldest, head.dropped);
    Ok(pretty(&json!({ "sequence": sequence, "hash": hash, "oldest": oldest, "dropped": dropped })))
}
