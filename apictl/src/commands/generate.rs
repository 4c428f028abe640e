//! `apictl gen`: what a machine needs before it can be configured.

mod config;
mod documents;
mod secrets;

use std::path::PathBuf;

use crate::{
    cli::Output,
    exit::{Failure, Result},
    node::App,
};

/// Make secrets and a first configuration
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl gen secrets -o secrets.yaml\n  \
    apictl gen config --secrets secrets.yaml -e 10.0.0.1 --fingerprint 5f3a... --hostname web-1 -o web-1/\n  \
    apictl apply-config -f web-1/ --secrets secrets.yaml")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Secrets(secrets::Args),
    Config(config::Args),
}

pub(crate) fn run(app: &App, args: Args) -> Result {
    match args.what {
        What::Secrets(args) => secrets::run(app, args),
        What::Config(args) => config::run(app, &args),
    }
}

/// `-o` names a file or folder here.
fn place(app: &App) -> Result<Option<PathBuf>> {
    match &app.global.output {
        None => Ok(None),
        Some(Output::Place(path)) => Ok(Some(path.clone())),
        Some(Output::Format(_)) => Err(Failure::usage(
            "-o names the file or folder to write here, and what was given is a format",
            "to write a file of that name: -o ./NAME",
        )),
    }
}
