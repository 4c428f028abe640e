//! `apictl config history`: the revisions that a node keeps.

use std::io::stdout;

use api::{
    facts::moment,
    v1::{HistoryRequest, Revision, config_client::ConfigClient},
};
use serde_json::{Value, json};

use crate::{apply, cli::Format, commands::format, exit::Result, node::App, objects, table::Table};

/// Show the revisions that are kept, newest first
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl config history -o wide")]
pub(super) struct Args {}

pub(super) async fn run(app: &App, _: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let answers = app
        .ask(async |node| Ok(ConfigClient::new(node.channel.clone()).history(HistoryRequest {}).await?.into_inner()))
        .await?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let one = |node: &String, revision: &Revision| {
            let mut value = apply::revision(revision);
            value["node"] = json!(node);
            value
        };
        let all: Vec<Value> = answers
            .good
            .iter()
            .flat_map(|(node, history)| history.revisions.iter().map(|revision| one(&node.name, revision)))
            .collect();
        if format == Format::Json {
            objects::json(&mut out, &all)?
        } else {
            objects::yaml(&mut out, &all)?
        }
        return answers.end();
    }
    let (wide, several) = (format == Format::Wide, answers.several());
    let headers = ["NODE", "REVISION", "STATE", "CREATED", "AUTHOR", "MESSAGE", "SECRETS", "DIGEST"];
    let shown = if wide { headers.len() } else { headers.len() - 2 };
    let skipped = usize::from(!several);
    let mut table = Table::new(headers.into_iter().take(shown).skip(skipped));
    for (node, history) in &answers.good {
        for revision in &history.revisions {
            let cells = [
                node.name.clone(),
                revision.id.to_string(),
                state(revision),
                moment(revision.created_unix),
                revision.author.clone(),
                revision.message.clone(),
                revision.secrets.join(","),
                revision.digest.clone(),
            ];
            table.row(cells.into_iter().take(shown).skip(skipped));
        }
    }
    table.print(&mut out)?;
    answers.end()
}

fn state(revision: &Revision) -> String {
    let marks = [
        (revision.current, "current"),
        (revision.blessed, "blessed"),
        (revision.staged, "staged"),
        (revision.trial, "trial"),
    ];
    let mut all: Vec<&str> = marks.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
    if !revision.unreadable.is_empty() {
        all.push("unreadable");
    }
    all.join(",")
}
