//! `apictl services`: the services and how each is doing.

use crate::{commands::get, exit::Result, node::App};

/// Show the services and how they are
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl services -o wide")]
pub(crate) struct Args {
    /// Only this one
    service: Option<String>,
    /// Go on with every change
    #[arg(short, long)]
    watch: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let id = args.service.as_deref();
    if args.watch {
        get::watch::run(app, "service", id, get::Style::Changes).await
    } else {
        get::once(app, "service", id).await
    }
}
