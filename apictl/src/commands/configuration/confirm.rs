//! `apictl config confirm`: a revision on trial stays.

use std::io::stdout;

use api::v1::{ConfirmRequest, config_client::ConfigClient};
use serde_json::{Value, json};

use crate::{cli::Format, commands::format, exit::Result, node::App, objects};

/// Keep the revision that is on trial: it was reached, this proves it
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl config confirm -n 10.0.0.1")]
pub(super) struct Args {
    /// The revision [default: whichever is on trial]
    #[arg(default_value_t = 0, hide_default_value = true)]
    revision: u64,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Json, Format::Yaml])?;
    let request = ConfirmRequest { revision: args.revision };
    let answers =
        app.ask(async |node| Ok(ConfigClient::new(node.channel.clone()).confirm(request).await?.into_inner())).await?;
    let all: Vec<Value> = answers
        .good
        .iter()
        .map(|(node, confirmed)| json!({ "node": node.name, "revision": confirmed.revision }))
        .collect();
    let mut out = stdout().lock();
    match format {
        Format::Json => objects::json(&mut out, &all)?,
        Format::Yaml => objects::yaml(&mut out, &all)?,
        _ => {}
    }
    for (node, confirmed) in &answers.good {
        app.ui.note(&format!("{}: revision {} is confirmed", node.name, confirmed.revision));
    }
    answers.end()
}
