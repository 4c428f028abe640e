//! `apictl generations`: the versions on the nodes' disks.

use crate::{commands::get, exit::Result, node::App};

/// Show the versions on the nodes' disks: which runs, which starts next, which failed and why
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl generations -o wide\n\n\
    Marks: `running`; `current` is what starts when nothing is on trial. Go back with `apictl rollback`.")]
pub(crate) struct Args {
    /// Only this one
    generation: Option<u32>,
    /// Go on with every change
    #[arg(short, long)]
    watch: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let id = args.generation.map(|number| number.to_string());
    if args.watch {
        get::watch::run(app, "generation", id.as_deref(), get::Style::Changes).await
    } else {
        get::once(app, "generation", id.as_deref()).await
    }
}
