//! `apictl cert`: certificates of people and nodes, and the authority that signs them.

mod new;
mod node;
mod renew;
mod revoke;
mod rotate;
mod show;

use crate::{exit::Result, node::App};

/// Make, renew, show and revoke certificates; change the authority
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl cert new --secrets secrets.yaml --role reader --name alice --out alice.pem\n  \
    apictl cert renew\n  apictl cert rotate-ca --secrets secrets.yaml --dry-run"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    New(new::Args),
    Renew(renew::Args),
    Show(show::Args),
    Revoke(revoke::Args),
    RotateCa(rotate::Args),
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    match args.what {
        What::New(args) => new::run(app, &args),
        What::Renew(args) if args.node => node::run(app, &args).await,
        What::Renew(args) => renew::run(app, &args).await,
        What::Show(args) => show::run(app, &args),
        What::Revoke(args) => revoke::run(app, args).await,
        What::RotateCa(args) => rotate::run(app, &args).await,
    }
}
