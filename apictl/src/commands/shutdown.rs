//! `apictl shutdown`.

use crate::{
    exit::Result,
    node::App,
    stop::{self, Action, Options},
};

/// Stop the nodes in order and switch them off
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl shutdown -n 10.0.0.1 --reason 'moved to another rack'\n\nNothing is asked: it is done at once, on the nodes that are printed."
)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    stop::run(app, Action::Shutdown, args.options).await
}
