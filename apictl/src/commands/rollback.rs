//! `apictl rollback`.

use crate::{
    exit::Result,
    node::App,
    stop::{self, Action, Options},
};

/// Go back to a version that was proven before, with the configuration it was proven with
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl rollback -n 10.0.0.1 --reason 'the new one is slow'\n  apictl rollback --to 4 -n 10.0.0.1\n\n\
    Nothing is asked: the nodes that are printed reboot at once. A version on trial is given up. Going forward again is the same: \
    nothing is deleted."
)]
pub(crate) struct Args {
    /// The generation to go back to [default: the other one that was proven]
    #[arg(long, value_name = "GENERATION", value_parser = clap::value_parser!(u32).range(1..))]
    to: Option<u32>,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    stop::run(app, Action::Rollback(args.to.unwrap_or(0)), args.options).await
}
