//! `apictl completion`: completion scripts for shells.

use std::io::{Write, stdout};

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{cli::Cli, exit::Result};

/// Write a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl completion bash > ~/.local/share/bash-completion/completions/apictl")]
pub(crate) struct Args {
    /// For which shell
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

pub(crate) fn run(args: &Args) -> Result {
    let shell = match args.shell.as_str() {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "apictl", &mut script);
    Ok(stdout().write_all(&script)?)
}
