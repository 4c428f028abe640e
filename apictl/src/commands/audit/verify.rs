//! `apictl audit verify`: whether the records are as they were written.
//!
//! Invariant: nothing a node says of its log is believed; every hash is computed here.

use std::{io::stdout, path::PathBuf};

use api::{
    audit::{Chain, Head},
    v1::{EntriesRequest, audit_client::AuditClient},
};
use serde_json::{Value, json};

use super::head::{self, Kept};
use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::{App, Node},
    objects,
    table::Table,
};

/// Verify the chain of the records, against heads that were kept elsewhere
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl audit verify --kept heads.yaml --update\n  apictl audit verify --head 812:5f3a...\n\n\
    Without a head that was kept, only the chain itself is verified: who can write to the node's disk can write all of it anew. \
    Exit code 1 when something was changed."
)]
pub(super) struct Args {
    /// Heads by node, from `apictl audit head --keep`
    #[arg(long, value_name = "FILE")]
    kept: Option<PathBuf>,
    /// The head of the one node that is asked
    #[arg(long, value_name = "NUMBER:HASH", conflicts_with = "kept")]
    head: Option<Kept>,
    /// Keep the new heads in the file, where all is well
    #[arg(long, requires = "kept")]
    update: bool,
}

/// What was found on a node.
struct Verified {
    first: u64,
    count: u64,
    head: Head,
    /// Whether the kept head was met.
    vouched: Option<u64>,
    broken: Vec<String>,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let mut heads = args.kept.as_deref().map(head::load).transpose()?.unwrap_or_default();
    let mut answers = app.ask(async |node| verify(node, kept(args, &heads, node)?).await).await?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let all: Vec<Value> = answers.good.iter().map(|(node, found)| document(&node.name, found)).collect();
        if format == Format::Json { objects::json(&mut out, &all)? } else { objects::yaml(&mut out, &all)? }
    } else {
        let mut table = Table::new(["NODE", "WHOLE", "RECORDS", "FROM", "TO", "VOUCHED FOR UP TO"]);
        for (node, found) in &answers.good {
            let whole = if found.broken.is_empty() { "yes" } else { "NO" };
            let vouched = found.vouched.map_or_else(|| "nothing was kept".into(), |sequence| sequence.to_string());
            let numbers = [found.count, found.first, found.head.sequence].map(|number| number.to_string());
            table.row([node.name.clone(), whole.into()].into_iter().chain(numbers).chain([vouched]));
        }
        table.print(&mut out)?;
    }
    for (node, found) in &answers.good {
        for why in &found.broken {
            let remedy = "what the node's disk says of the time before is not to be trusted";
            answers.failed.push(Failure::new(Code::Failed, why.clone(), remedy).at(&node.name));
        }
        if found.broken.is_empty() {
            heads.insert(node.name.clone(), Kept::of(found.head));
        }
    }
    if let Some(path) = args.kept.as_deref().filter(|_| args.update) {
        head::save(path, &heads)?;
    }
    answers.end()
}

fn kept(args: &Args, heads: &std::collections::BTreeMap<String, Kept>, node: &Node) -> Result<Option<Head>> {
    let kept = args.head.as_ref().or_else(|| heads.get(&node.name));
    kept.map(|kept| kept.head(&node.name)).transpose()
}

async fn verify(node: &Node, kept: Option<Head>) -> Result<Verified> {
    let request = EntriesRequest { from: 0, follow: false };
    let mut entries = AuditClient::new(node.channel.clone()).entries(request).await?.into_inner();
    let mut chain = Chain::new(kept);
    let (mut count, mut first, mut broken) = (0, 0, Vec::new());
    while let Some(entry) = entries.message().await? {
        if count == 0 {
            first = entry.sequence;
        }
        count += 1;
        if let Err(why) = chain.push(&entry.record) {
            broken.push(why.to_string());
        }
    }
    let head = chain.head().unwrap_or_default();
    let kept = kept.filter(|kept| kept.sequence > 0);
    if let Some(kept) = kept.filter(|kept| kept.sequence > head.sequence) {
        return Err(head::missing(&node.name, kept.sequence, head.sequence));
    }
    // What was overwritten in its turn cannot be met any more.
    let vouched = kept.map(|kept| kept.sequence).filter(|sequence| *sequence >= first);
    Ok(Verified { first, count, head, vouched, broken })
}

fn document(node: &str, found: &Verified) -> Value {
    json!({
        "node": node, "whole": found.broken.is_empty(), "records": found.count, "first": found.first,
        "last": found.head.sequence, "head": Kept::of(found.head), "vouchedUpTo": found.vouched, "broken": found.broken,
    })
}
