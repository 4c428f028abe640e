//! `apictl audit`: who called what, as nodes have recorded it.

mod entries;
mod head;
mod list;
mod verify;

pub(super) use entries::Shown;

use crate::{exit::Result, node::App};

/// Show who called what, and verify that nothing of it was changed
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl audit list --tail 20\n  apictl audit head --keep heads.yaml\n  \
    apictl audit verify --kept heads.yaml\n\n\
    Every call is recorded on the node, each record with the hash of the one before. Whoever can write to a node's disk can \
    write all of them anew: a head that is kept elsewhere shows that.")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    List(list::Args),
    Verify(verify::Args),
    Head(head::Args),
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    match args.what {
        What::List(args) => list::run(app, &args).await,
        What::Verify(args) => verify::run(app, &args).await,
        What::Head(args) => head::run(app, &args).await,
    }
}
