//! `apictl audit list`: the records, once or as they come.

use std::io::stdout;

use api::v1::{HeadRequest, audit_client::AuditClient};
use futures_util::StreamExt;
use serde_json::Value;

use super::entries::{Entries, HEADERS, Shown};
use crate::{
    cli::Format,
    commands::format,
    exit::{Failure, Result},
    node::{self, App, Node, Step},
    objects,
    table::Table,
};

/// Show the records, oldest first
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl audit list --tail 20\n  apictl audit list --changes -o json\n  apictl audit list -f"
)]
pub(super) struct Args {
    /// Only the last so many
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// Only those from this number on
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true, conflicts_with = "tail")]
    from: u64,
    /// Only calls that change something
    #[arg(long)]
    changes: bool,
    /// Go on with every call
    #[arg(short, long)]
    follow: bool,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let answers = app.ask(async |node| begin(node, args).await).await?;
    let several = answers.several();
    let names: Vec<_> = answers.good.iter().map(|(node, _)| node.name.clone()).collect();
    let mut out = stdout().lock();
    let wide = format == Format::Wide;
    let shown = if wide { HEADERS.len() } else { HEADERS.len() - 2 };
    let mut table = Table::new(several.then_some("NODE").into_iter().chain(HEADERS.into_iter().take(shown)));
    let mut documents = Vec::<Value>::new();
    let mut failed = answers.failed;
    let reading = async {
        let mut all = node::follow(&app.ui, answers.good);
        while let Some((index, step)) = all.next().await {
            let entry = match step {
                Ok(Step::Item(entry)) => Shown::of(&entry),
                Ok(Step::Broken) => continue,
                Err(failure) => {
                    failed.push(failure);
                    continue;
                }
            };
            if args.changes && !entry.is_change() {
                continue;
            }
            let node = several.then(|| names[index].clone());
            match format {
                Format::Json if args.follow => objects::json_line(&mut out, &entry.document(node.as_deref()))?,
                Format::Json | Format::Yaml => documents.push(entry.document(node.as_deref())),
                _ => {
                    let mut cells = entry.cells();
                    cells.resize(HEADERS.len(), String::new());
                    table.row(node.into_iter().chain(cells.into_iter().take(shown)));
                    if args.follow {
                        table.print(&mut out)?;
                    }
                }
            }
        }
        Ok::<_, Failure>(())
    };
    app.limited(reading).await??;
    match format {
        Format::Json if args.follow => {}
        Format::Json => objects::json(&mut out, &documents)?,
        Format::Yaml => objects::yaml(&mut out, &documents)?,
        _ => table.print(&mut out)?,
    }
    Failure::all(failed)
}

/// Where the stream of a node begins.
async fn begin(node: &Node, args: &Args) -> Result<Entries> {
    let from = match args.tail {
        None => args.from,
        Some(tail) => {
            let head = AuditClient::new(node.channel.clone()).head(HeadRequest {}).await?.into_inner();
            (head.sequence + 1).saturating_sub(tail).max(1)
        }
    };
    Ok(Entries { from, follow: args.follow })
}
