//! `apictl config`: the revisions of a node's documents.

mod confirm;
mod diff;
mod get;
mod history;

use crate::{
    apply::{self, Change, Options, When},
    exit::Result,
    node::App,
};

/// Look at a node's documents and their revisions; go back to one
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl config get\n  apictl config history\n  apictl config revert 12 --mode trial"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Get(get::Args),
    History(history::Args),
    Diff(diff::Args),
    Revert(Revert),
    Confirm(confirm::Args),
}

/// Go back to an older revision, with the secrets it had; needs no room on the disk
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl config revert\n  apictl config revert 12 --dry-run\n  \
    apictl config revert 12 --mode trial --confirm-within 5m")]
struct Revert {
    /// The revision [default: the one that was proven before the current one]
    #[arg(default_value_t = 0, hide_default_value = true)]
    revision: u64,
    #[command(flatten)]
    when: When,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    match args.what {
        What::Get(args) => get::run(app, &args).await,
        What::History(args) => history::run(app, &args).await,
        What::Diff(args) => diff::run(app, &args).await,
        What::Confirm(args) => confirm::run(app, &args).await,
        What::Revert(Revert { revision, when }) => {
            let jobs: Vec<_> = app.targets()?.into_iter().map(|target| (target, Change::Revert(revision))).collect();
            // No revision is made that could keep a message.
            apply::run(app, &jobs, &Options { when, message: String::new() }).await
        }
    }
}
