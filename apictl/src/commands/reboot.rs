//! `apictl reboot`.

use crate::{
    exit::Result,
    node::App,
    stop::{self, Action, Options},
};

/// Stop the nodes in order and start them through their firmware
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl reboot -n 10.0.0.1 --reason 'new memory'\n\nNothing is asked: it is done at once, on the nodes that are printed."
)]
pub(crate) struct Args {
    /// Into the recovery system, once: it runs from memory, and looks at a machine that cannot be reached otherwise
    #[arg(long)]
    recovery: bool,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let action = if args.recovery { Action::Recovery } else { Action::Reboot };
    stop::run(app, action, args.options).await
}
