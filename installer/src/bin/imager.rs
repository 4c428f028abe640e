//! `imager`: builds Stele's image. The steps are in the library of this crate; here are only the words for them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use installer::commands::{
    baseline, build, extract, fetch, image, loader, lock, ls, oci, push, sign, sizes, tool, verify,
};
use installer::spec;

/// Builds the Stele image out of pinned Debian packages and this workspace's programs.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    /// The installer folder, with image.yaml and packages.lock [default: that of the checkout around the current folder]
    #[arg(long, global = true)]
    source: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the UKI, the raw disk, the SBOM and their checksums
    Build(build::Args),
    /// Make a disk image out of a UKI: raw, qcow2 or raw.zst
    Image(image::Args),
    /// Make the loader's program an EFI program, and sign it
    Loader(loader::Args),
    /// Make the installer image out of its parts: an OCI layout in a folder
    Oci(oci::Args),
    /// Sign an installer image as cosign does with a key
    Sign(sign::Args),
    /// Push an installer image with its signatures into a registry
    Push(push::Args),
    /// Look at an installer image as a machine would: signature, manifests, every byte
    Verify(verify::Args),
    /// Pin the current Debian versions in packages.lock
    Lock,
    /// Download the pinned packages into the cache
    Fetch(fetch::Args),
    /// Write one part of a UKI into a file: kernel, initrd, command line
    Extract(extract::Args),
    /// List the files inside a UKI
    Ls(ls::Args),
    /// Run a stock program out of the pinned packages (for tests)
    Tool(tool::Args),
    /// Build the bare image that the figures are compared with
    Baseline(baseline::Args),
    /// Show how large a UKI is, and each part of it
    Sizes(sizes::Args),
}

fn main() -> ExitCode {
    let done = run(&Cli::parse());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("imager: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let source = || spec::folder(cli.source.as_deref());
    match &cli.command {
        Command::Build(args) => build::run(&source()?, args),
        Command::Image(args) => image::run(args),
        Command::Loader(args) => loader::run(args),
        Command::Oci(args) => oci::run(&source()?, args),
        Command::Sign(args) => sign::run(args),
        Command::Push(args) => push::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Lock => lock::run(&source()?),
        Command::Fetch(args) => fetch::run(&source()?, args),
        Command::Extract(args) => extract::run(args),
        Command::Ls(args) => ls::run(&source()?, args),
        Command::Tool(args) => tool::run(&source()?, args),
        Command::Baseline(args) => baseline::run(&source()?, args),
        Command::Sizes(args) => sizes::run(args),
    }
}
