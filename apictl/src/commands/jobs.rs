//! `apictl jobs`: the long tasks of nodes, and calling one off.

use api::v1::{CancelJobRequest, machine_client::MachineClient};
use clap::Subcommand;

use crate::{
    commands::get,
    exit::{Failure, Result},
    node::App,
};

/// Show the long tasks of nodes: upgrades, installs; or cancel one
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl jobs\n  apictl get job 7 -w\n  apictl jobs cancel 7 -n 10.0.0.1\n\nThe last 16 that are over are kept.",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Args {
    /// Go on with every change, over lost connections and restarts
    #[arg(short, long)]
    watch: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Call a job off, unless it is past its point of no return
    #[command(after_help = "Example:\n  apictl jobs cancel 7 -n 10.0.0.1")]
    Cancel {
        /// Its number
        id: u64,
    },
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    match args.command {
        Some(Command::Cancel { id }) => cancel(app, id).await,
        None if args.watch => get::watch::run(app, "job", None, get::Style::Changes).await,
        None => get::once(app, "job", None).await,
    }
}

async fn cancel(app: &App, job: u64) -> Result {
    if app.targets()?.len() > 1 {
        let remedy = "jobs have numbers of their own on each node: -n NODE";
        return Err(Failure::usage("several nodes are meant, the job is on one", remedy));
    }
    let answers = app
        .ask(async |node| {
            let request = CancelJobRequest { job };
            Ok(MachineClient::new(node.channel.clone()).cancel_job(request).await?.into_inner())
        })
        .await?;
    for (node, _) in &answers.good {
        app.ui.note(&format!("{}: job {job} is cancelled", node.name));
    }
    answers.end()
}
