//! `apictl inspect`: how a node works inside.

use std::io::{Write, stdout};

use api::v1::{Controller, ControllersRequest, controller::State, diagnostics_client::DiagnosticsClient};
use serde_json::{Value, json};

use crate::{
    cli::Format,
    commands::format,
    exit::{Failure, Result},
    node::App,
    objects,
    table::Table,
    text,
};

/// Look into a node
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl inspect controllers -o dot | dot -Tsvg > controllers.svg")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The controllers: what each watches and writes, and how it is doing
    #[command(after_help = "Example:\n  apictl inspect controllers -o wide")]
    Controllers,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    match args.what {
        What::Controllers => controllers(app).await,
    }
}

async fn controllers(app: &App) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml, Format::Dot])?;
    let answers = app
        .ask(async |node| {
            Ok(DiagnosticsClient::new(node.channel.clone()).controllers(ControllersRequest {}).await?.into_inner())
        })
        .await?;
    let several = answers.several();
    let mut out = stdout().lock();
    match format {
        Format::Dot if several => {
            return Err(Failure::usage("a graph is of one node", "name one: -n NODE"));
        }
        Format::Dot => {
            for (_, response) in &answers.good {
                writeln!(out, "{}", text::lines(response.dot.trim_end()))?;
            }
        }
        Format::Json | Format::Yaml => {
            let all: Vec<Value> = answers
                .good
                .iter()
                .flat_map(|(node, response)| response.controllers.iter().map(move |one| (node, one)))
                .map(|(node, one)| document(several.then_some(&node.name), one))
                .collect();
            if format == Format::Json { objects::json(&mut out, &all)? } else { objects::yaml(&mut out, &all)? }
        }
        _ => {
            let wide = format == Format::Wide;
            let headers = ["NAME", "STATE", "CYCLES", "FAILURES", "WATCHES", "WRITES"];
            let extra = ["HOLDS", "RETRY", "LAST ERROR"].into_iter().filter(|_| wide);
            let mut table = Table::new(several.then_some("NODE").into_iter().chain(headers).chain(extra));
            for (node, response) in &answers.good {
                for one in &response.controllers {
                    let cells = cells(one, wide);
                    table.row(several.then(|| node.name.clone()).into_iter().chain(cells));
                }
            }
            table.print(&mut out)?;
        }
    }
    answers.end()
}

fn cells(of: &Controller, wide: bool) -> Vec<String> {
    let writes = [&of.owns[..], &of.shares[..]].concat().join(",");
    let retry = if of.next_retry_ms > 0 { format!("in {} ms", of.next_retry_ms) } else { String::new() };
    let counts = [of.cycles.to_string(), of.failures.to_string()];
    let cells = [of.name.clone(), state(of).to_owned()].into_iter().chain(counts).chain([of.watches.join(","), writes]);
    cells.chain([of.holds.join(","), retry, of.last_error.clone()].into_iter().filter(|_| wide)).collect()
}

fn state(of: &Controller) -> &'static str {
    match of.state() {
        State::Unspecified => "unknown",
        State::Waiting => "waiting",
        State::Running => "running",
        State::Idle => "idle",
        State::Unready => "unready",
        State::BackingOff => "backing-off",
        State::Stopped => "stopped",
    }
}

fn document(node: Option<&String>, of: &Controller) -> Value {
    let mut document = json!({
        "name": of.name, "watches": of.watches, "holds": of.holds, "owns": of.owns, "shares": of.shares,
        "state": state(of), "cycles": of.cycles, "failures": of.failures, "lastError": of.last_error,
        "nextRetryMs": of.next_retry_ms,
    });
    if let Some(node) = node {
        document["node"] = json!(node);
    }
    document
}
