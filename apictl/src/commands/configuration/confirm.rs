//! `apictl config confirm`: a revision on trial stays.

use api::v1::{ConfirmRequest, config_client::ConfigClient};

use crate::{exit::Result, node::App};

/// Keep the revision that is on trial: it was reached, this proves it
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl config confirm -n 10.0.0.1")]
pub(super) struct Args {
    /// The revision [default: whichever is on trial]
    #[arg(default_value_t = 0, hide_default_value = true)]
    revision: u64,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let request = ConfirmRequest { revision: args.revision };
    let answers =
        app.ask(async |node| Ok(ConfigClient::new(node.channel.clone()).confirm(request).await?.into_inner())).await?;
    for (node, confirmed) in &answers.good {
        app.ui.note(&format!("{}: revision {} is confirmed", node.name, confirmed.revision));
    }
    answers.end()
}
