//! `apictl config get`: the documents as they were given.

use std::io::{Write, stdout};

use api::v1::{ReadRequest, config_client::ConfigClient};
use serde_json::{Value, json};

use crate::{apply, cli::Format, commands::format, exit::Result, node::App, objects, text};

/// Print the documents of a revision, with their comments; secrets are never among them
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl config get > web-1.yaml\n  apictl config get 12")]
pub(super) struct Args {
    /// The revision [default: the current one]
    #[arg(default_value_t = 0, hide_default_value = true)]
    revision: u64,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Raw, Format::Json, Format::Yaml])?;
    let request = ReadRequest { revision: args.revision };
    let answers =
        app.ask(async |node| Ok(ConfigClient::new(node.channel.clone()).read(request).await?.into_inner())).await?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let one = |name: &String, read: &api::v1::ReadResponse| {
            let revision = read.revision.as_ref().map(apply::revision);
            json!({ "node": name, "revision": revision, "documents": read.documents })
        };
        let all: Vec<Value> = answers.good.iter().map(|(node, read)| one(&node.name, read)).collect();
        if format == Format::Json {
            objects::json(&mut out, &all)?
        } else {
            objects::yaml(&mut out, &all)?
        }
        return answers.end();
    }
    for (node, read) in &answers.good {
        if answers.several() {
            writeln!(out, "# {}", text::plain(&node.name))?;
        }
        let end = if read.documents.ends_with('\n') { "" } else { "\n" };
        write!(out, "{}{end}", text::lines(&read.documents))?;
    }
    answers.end()
}
