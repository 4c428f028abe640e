//! `apictl dmesg`: the kernel's ring.

use api::log::Source;

use crate::{commands::logs, exit::Result, node::App};

/// Show the kernel's log
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl dmesg --tail 50 --follow")]
pub(crate) struct Args {
    /// Go on with what comes, over lost connections and restarts
    #[arg(short, long)]
    follow: bool,
    /// Start with at most this many of the last lines
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    logs::show(app, &Source::Kernel, args.follow, args.tail, true).await
}
