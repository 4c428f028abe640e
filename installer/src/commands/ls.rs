//! `imager ls`: what is inside.

/// Options of `imager ls`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// None yet.
pub fn run(_: &Args) -> anyhow::Result<()> {
    Ok(())
}
