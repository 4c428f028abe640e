//! `apictl man`: manual pages of all commands, made from their help.

use std::{fs, path::PathBuf};

use clap::CommandFactory;

use crate::{
    cli::{Cli, Output},
    exit::{Code, Failure, Result},
    node::App,
};

/// Write the manual pages into a folder (-o FOLDER)
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl man -o ~/.local/share/man/man1\n  man apictl-apply-config")]
pub(crate) struct Args {}

pub(crate) fn run(app: &App, _: Args) -> Result {
    let folder: PathBuf = match &app.global.output {
        Some(Output::Place(folder)) => folder.clone(),
        _ => return Err(Failure::usage("no folder for the manual pages", "name it: -o FOLDER")),
    };
    let failed = |error| Failure::new(Code::Failed, format!("writing to {}: {error}", folder.display()), "");
    fs::create_dir_all(&folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &folder).map_err(failed)?;
    let count = fs::read_dir(&folder).map_err(failed)?.count();
    app.ui.note(&format!("{}: {count} pages; try: man {}/apictl.1", folder.display(), folder.display()));
    Ok(())
}
