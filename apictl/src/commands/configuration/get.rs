//! `apictl config get`: the documents as they were given.

use std::{
    convert::Infallible,
    io::{Write, stdout},
    str::FromStr,
};

use api::v1::{ReadRequest, ReadResponse, config_client::ConfigClient};
use serde_json::{Value, json};

use crate::{
    apply,
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::{App, Node},
    objects, text,
};

/// Print the documents of a revision, with their comments; secrets are never among them
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl config get > web-1.yaml\n  apictl config get 12\n  \
    apictl config get Link/eth0")]
pub(super) struct Args {
    /// A revision by its number [default: the current one], or one document of the current one
    #[arg(value_name = "REVISION|KIND[/NAME]")]
    what: Option<What>,
}

/// No kind begins with a digit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Revision(u64),
    Document(String),
}

impl FromStr for What {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Document(text.to_owned()), Self::Revision))
    }
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Raw, Format::Json, Format::Yaml])?;
    let answers = app.ask(async |node| read(node, args.what.as_ref()).await).await?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let one = |name: &String, read: &ReadResponse| {
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

async fn read(node: &Node, what: Option<&What>) -> Result<ReadResponse> {
    let revision = if let Some(What::Revision(revision)) = what { *revision } else { 0 };
    let mut read = ConfigClient::new(node.channel.clone()).read(ReadRequest { revision }).await?.into_inner();
    if let Some(What::Document(id)) = what {
        let one = config::patch::one(&read.documents, id);
        let none = |error: config::patch::Error| Failure::new(Code::NotFound, error.to_string(), "");
        read.documents = one.map_err(none)?.to_owned();
    }
    Ok(read)
}
