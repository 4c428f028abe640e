//! `apictl audit verify`: whether the records are as they were written.
//!
//! Invariant: nothing a node says of its log is believed; every hash is computed here. A new head is kept only of a chain in
//! which the one before was met.

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
    Exit code 1 when something was changed, or when the kept head is not among the records any more."
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
    let mut walk = Walk::new(kept);
    while let Some(entry) = entries.message().await? {
        walk.push(&entry.record);
    }
    walk.end(&node.name)
}

/// From record to record.
struct Walk {
    kept: Option<Head>,
    chain: Chain,
    first: Option<u64>,
    count: u64,
    broken: Vec<String>,
}

impl Walk {
    fn new(kept: Option<Head>) -> Self {
        // Kept when nothing was written yet: there is nothing to meet.
        let kept = kept.filter(|kept| kept.sequence > 0);
        Self { kept, chain: Chain::new(kept), first: None, count: 0, broken: Vec::new() }
    }

    fn push(&mut self, record: &[u8]) {
        self.count += 1;
        if let Err(why) = self.chain.push(record) {
            self.broken.push(why.to_string());
        }
        // As the record itself says, under its hash.
        self.first = self.first.or(self.chain.head().map(|head| head.sequence));
    }

    fn end(self, node: &str) -> Result<Verified> {
        let Self { kept, chain, first, count, broken } = self;
        let (head, first) = (chain.head().unwrap_or_default(), first.unwrap_or_default());
        if let Some(kept) = kept {
            if kept.sequence > head.sequence {
                return Err(head::missing(node, kept.sequence, head.sequence));
            }
            if !chain.met() && broken.is_empty() {
                return Err(head::unmet(node, kept.sequence, first));
            }
        }
        let vouched = kept.map(|kept| kept.sequence).filter(|_| chain.met());
        Ok(Verified { first, count, head, vouched, broken })
    }
}

fn document(node: &str, found: &Verified) -> Value {
    json!({
        "node": node, "whole": found.broken.is_empty(), "records": found.count, "first": found.first,
        "last": found.head.sequence, "head": Kept::of(found.head), "vouchedUpTo": found.vouched, "broken": found.broken,
    })
}

#[cfg(test)]
mod tests {
    use api::audit::{Record, SIZE};

    use super::*;

    /// A log that somebody wrote, whole in itself.
    fn log(by: &str, length: u64) -> Vec<[u8; SIZE]> {
        let mut previous = [0; 32];
        let next = |sequence| {
            let (bytes, hash) =
                Record { sequence, previous, calls: 1, subject: by.into(), ..Record::default() }.format();
            previous = hash;
            bytes
        };
        (1..=length).map(next).collect()
    }

    fn walk(records: &[[u8; SIZE]], kept: Option<Head>) -> Result<(u64, Option<u64>, usize)> {
        let mut walk = Walk::new(kept);
        records.iter().for_each(|record| walk.push(record));
        walk.end("node").map(|found| (found.first, found.vouched, found.broken.len()))
    }

    #[test]
    fn a_log_is_whole_only_with_the_head_that_was_kept() {
        let (good, forged) = (log("alice", 9), log("mallory", 9));
        let kept = Some(Head { sequence: 3, hash: Record::parse(&good[2]).unwrap().1 });
        let none = Some(Head::default());
        for (records, kept, wanted) in [
            (&good[..], kept, Ok((1, Some(3), 0))),
            (&good[3..], kept, Ok((4, Some(3), 0))),
            (&good[4..], None, Ok((5, None, 0))),
            (&good[..], none, Ok((1, None, 0))),
            (&[], none, Ok((0, None, 0))),
            (&forged[..], kept, Ok((1, None, 1))),
            // Whole, and yet nothing of it follows from what was kept.
            (&forged[3..], kept, Err("the records begin with 4")),
            (&good[4..], kept, Err("the records begin with 5")),
            (&good[..2], kept, Err("the newest is 2")),
            (&[], kept, Err("the newest is 0")),
        ] {
            match (walk(records, kept), wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted),
                (Err(failure), Err(wanted)) => assert!(failure.message.contains(wanted), "{}", failure.message),
                (found, wanted) => panic!("{found:?}, not {wanted:?}"),
            }
        }
    }
}
