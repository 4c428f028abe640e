//! `make demo`: boots the product's image in a virtual machine and asks it over the API, showing each command; leaves the
//! machine running. `demo stop` ends it.
//!
//! Everything of the machine is in `_out/demo/`, and what that links to in /tmp; nothing else of the workstation is
//! touched.

mod machine;
mod tour;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Boot Stele in a virtual machine and show what it answers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boot a fresh machine and show it; one that still runs is stopped first
    Start {
        /// The folder with the built image and apictl
        #[arg(long, default_value = "_out")]
        out: PathBuf,
        /// Which image: cloud or generic
        #[arg(long, default_value = "cloud")]
        kernel: String,
    },
    /// Stop the machine
    Stop {
        /// The folder with the built image and apictl
        #[arg(long, default_value = "_out")]
        out: PathBuf,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Start { out, kernel } => {
            let out = out.canonicalize()?;
            machine::stop(&out)?;
            let vm = machine::start(&out, &kernel)?;
            tour::show(&vm, &out, &out.join("demo/operator"))?;
            machine::leave(vm, &out)
        }
        Command::Stop { out } => {
            let stopped = out.exists() && machine::stop(&out.canonicalize()?)?;
            println!("{}", if stopped { "stopped" } else { "no machine of the demo is running" });
            Ok(())
        }
    }
}
