//! `apictl events`: what happened on the nodes.

use crate::{commands::get, exit::Result, node::App};

/// Show what happened
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl events --follow")]
pub(crate) struct Args {
    /// Go on with what happens
    #[arg(short, long, visible_short_alias = 'w', visible_alias = "watch")]
    follow: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    if args.follow {
        get::watch::run(app, "event", None, get::Style::Journal).await
    } else {
        get::once(app, "event", None).await
    }
}
