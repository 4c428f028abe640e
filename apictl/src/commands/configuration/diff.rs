//! `apictl config diff`: what differs between revisions, or between a node and files.

use std::{
    io::{Write, stdout},
    path::PathBuf,
};

use api::v1::{HistoryRequest, ReadRequest, config_client::ConfigClient};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::{
    apply,
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::App,
    objects,
    source::Source,
    text,
};

/// Show what differs between two revisions, or between the current one and files
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl config diff\n  apictl config diff 11 14\n  apictl config diff -f web-1/")]
pub(super) struct Args {
    /// The older revision [default: the one before the newer]
    #[arg(conflicts_with = "files")]
    from: Option<u64>,
    /// The newer one [default: the current one]
    #[arg(conflicts_with = "files")]
    to: Option<u64>,
    /// Compare the current one with these documents: a file, a folder or - for standard input
    #[arg(short, long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Raw, Format::Json, Format::Yaml])?;
    let source = if args.files.is_empty() { None } else { Some(Source::load(&args.files)?) };
    let answers = app.ask(async |node| compare(&node.channel, args, source.as_ref()).await).await?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let one = |(node, diff): &(crate::node::Node, Diff)| json!({ "node": node.name, "from": diff.from, "to": diff.to, "diff": diff.lines });
        let all: Vec<Value> = answers.good.iter().map(one).collect();
        if format == Format::Json {
            objects::json(&mut out, &all)?
        } else {
            objects::yaml(&mut out, &all)?
        }
        return answers.end();
    }
    for (node, diff) in &answers.good {
        if diff.lines.is_empty() {
            app.ui.note(&format!("{}: {} and {} are the same", node.name, diff.from, diff.to));
            continue;
        }
        let name = if answers.several() { format!("{}:\n", node.name) } else { String::new() };
        write!(out, "{}", text::lines(&format!("{name}{}", diff.lines)))?;
    }
    answers.end()
}

struct Diff {
    from: String,
    to: String,
    lines: String,
}

async fn compare(channel: &Channel, args: &Args, source: Option<&Source>) -> Result<Diff> {
    let mut client = ConfigClient::new(channel.clone());
    let newer = client.read(ReadRequest { revision: args.to.unwrap_or(0) }).await?.into_inner();
    let id = newer.revision.as_ref().map_or(0, |revision| revision.id);
    let named = |id: u64| format!("revision {id}");
    if let Some(source) = source {
        let (from, to) = (named(id), "the files".to_owned());
        let lines = apply::lines(&newer.documents, &source.text, (&from, &to));
        return Ok(Diff { from, to, lines });
    }
    let from = match args.from {
        Some(from) => from,
        None => {
            let history = client.history(HistoryRequest {}).await?.into_inner();
            history.revisions.iter().map(|revision| revision.id).filter(|other| *other < id).max().ok_or_else(|| {
                Failure::new(
                    Code::NotFound,
                    format!("revision {id} is the oldest that is kept"),
                    "name two: apictl config history",
                )
            })?
        }
    };
    let older = client.read(ReadRequest { revision: from }).await?.into_inner();
    let (from, to) = (named(from), named(id));
    let lines = apply::lines(&older.documents, &newer.documents, (&from, &to));
    Ok(Diff { from, to, lines })
}
