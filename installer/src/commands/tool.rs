//! `imager tool`: a stock program out of the pinned packages, for tests that are no tests of this crate.

use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::Context;

use crate::fetch;
use crate::lock::{Lock, Use};
use crate::tools::Tools;

/// Options of `imager tool`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The program: docker-registry, skopeo, cosign
    name: String,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Becomes it.
///
/// # Errors
/// When its package cannot be had, or it cannot be started.
pub fn run(source: &Path, args: &Args) -> anyhow::Result<()> {
    let lock = Lock::load(source)?;
    fetch::ensure(lock.uses(Use::Test))?;
    let mut program = Tools::unpack(&lock, Use::Test)?.program(&args.name).args(&args.arguments);
    Err(program.command.exec()).with_context(|| format!("cannot start {}", args.name))
}
