//! `apictl audit head`: the newest record's number and hash, to be kept where the node cannot reach them.

use std::{
    collections::BTreeMap,
    fs, io,
    io::stdout,
    path::{Path, PathBuf},
};

use api::{
    audit::{Hash, Head},
    fingerprint::Fingerprint,
    v1::{HeadRequest, HeadResponse, audit_client::AuditClient},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::entries::hex;
use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::App,
    objects, secret,
    table::Table,
};

/// Show the newest record's number and hash, and keep them in a file
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl audit head --keep heads.yaml\n  apictl audit verify --kept heads.yaml")]
pub(super) struct Args {
    /// Keep them in this file, by node; what it holds of other nodes stays
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
}

/// A head as files keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    sequence: u64,
    hash: String,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let answers = app
        .ask(async |node| Ok(AuditClient::new(node.channel.clone()).head(HeadRequest {}).await?.into_inner()))
        .await?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let one = |(node, head): &(crate::node::Node, HeadResponse)| {
            json!({
                "node": node.name, "sequence": head.sequence, "hash": hex(&head.hash), "oldest": head.oldest,
                "dropped": head.dropped,
            })
        };
        let all: Vec<Value> = answers.good.iter().map(one).collect();
        if format == Format::Json { objects::json(&mut out, &all)? } else { objects::yaml(&mut out, &all)? }
    } else {
        let mut table = Table::new(["NODE", "NUMBER", "HASH", "OLDEST", "NOT RECORDED"]);
        for (node, head) in &answers.good {
            let numbers =
                [head.sequence.to_string(), hex(&head.hash), head.oldest.to_string(), head.dropped.to_string()];
            table.row([node.name.clone()].into_iter().chain(numbers));
        }
        table.print(&mut out)?;
    }
    if let Some(path) = &args.keep {
        let mut heads = load(path)?;
        for (node, head) in &answers.good {
            heads.insert(node.name.clone(), Kept { sequence: head.sequence, hash: hex(&head.hash) });
        }
        save(path, &heads)?;
        app.ui.note(&format!("{}: kept; where the nodes cannot reach it, it is worth something", path.display()));
    }
    answers.end()
}

/// What a file keeps; nothing when there is none.
pub(super) fn load(path: &Path) -> Result<BTreeMap<String, Kept>> {
    match fs::read_to_string(path) {
        Ok(text) => serde_saphyr::from_str(&text).map_err(|error| {
            Failure::usage(format!("{}: {error}", path.display()), "apictl audit head --keep makes it")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(Failure::usage(format!("reading {}: {error}", path.display()), "")),
    }
}

pub(super) fn save(path: &Path, heads: &BTreeMap<String, Kept>) -> Result {
    let text = serde_saphyr::to_string(heads).map_err(io::Error::other)?;
    secret::replace(path, &text)
}

impl Kept {
    /// For the check of a chain.
    pub(super) fn head(&self, node: &str) -> Result<Head> {
        // A fingerprint is written as a hash is: 64 hexadecimal digits.
        self.hash.parse::<Fingerprint>().map_err(|error| Failure::usage(format!("{node}: hash {error}"), ""))?;
        let digit =
            |at: usize| u8::from_str_radix(self.hash.get(at..at + 2).unwrap_or_default(), 16).unwrap_or_default();
        let mut hash: Hash = [0; 32];
        hash.iter_mut().enumerate().for_each(|(at, byte)| *byte = digit(at * 2));
        Ok(Head { sequence: self.sequence, hash })
    }

    /// One that was verified.
    pub(super) fn of(head: Head) -> Self {
        Self { sequence: head.sequence, hash: hex(&head.hash) }
    }
}

/// `NUMBER:HASH` as it is written on a command line.
impl std::str::FromStr for Kept {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text.split_once(':').and_then(|(sequence, hash)| Some((sequence.parse().ok()?, hash)));
        let (sequence, hash) = parts.ok_or("write it as NUMBER:HASH")?;
        let kept = Self { sequence, hash: hash.to_owned() };
        kept.head("").map_err(|failure| failure.message)?;
        Ok(kept)
    }
}

/// Refuses a head that was not found.
pub(super) fn missing(node: &str, kept: u64, newest: u64) -> Failure {
    let message = format!("record {kept}, which was kept as head, is not there: the newest is {newest}");
    Failure::new(
        Code::Failed,
        message,
        "the log was cut, or begun anew: the node was installed again, or tampered with",
    )
    .at(node)
}

/// Refuses records of which the kept head is none: whether they follow from it cannot be known.
pub(super) fn unmet(node: &str, kept: u64, first: u64) -> Failure {
    let message = format!("record {kept}, which was kept as head, is not there: the records begin with {first}");
    Failure::new(
        Code::Failed,
        message,
        "it was overwritten in its turn, or the log was written anew; keep heads more often, and to begin again: apictl audit head --keep FILE",
    )
    .at(node)
}
