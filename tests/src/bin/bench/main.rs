//! `make bench`: boot time in instruction-counted virtual time, memory in use, sizes; each next to a bare baseline of its
//! own, measured in the same run. Prints a report and writes it to `docs/figures.md`.
//!
//! Wall time on a busy machine says nothing; counted instructions repeat within 0.02 %. The figures are for comparison:
//! devices are free in them, and every instruction costs the same.

mod boots;
mod memory;
mod report;
mod sizes;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tests::artifacts;

#[derive(Parser)]
#[command(about = "Measure Stele beside a bare baseline")]
struct Cli {
    /// The folder with the built images
    #[arg(long, default_value = "_out")]
    out: PathBuf,
    /// Kernels to measure; one whose images are not built is left out, and the report says so
    #[arg(long, value_delimiter = ',', default_value = "cloud,generic")]
    kernels: Vec<String>,
    /// Where the report is written
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let mut boots = Vec::new();
    let mut memory = Vec::new();
    for kernel in &cli.kernels {
        boots.extend(boots::measure(kernel)?);
        memory.push(memory::measure(kernel)?);
    }
    let sizes = sizes::measure(&cli.out, &cli.kernels)?;
    let text = report::render(&boots, &memory, &sizes);
    println!("{text}");
    let path = cli.report.unwrap_or_else(|| artifacts::root().join("docs/figures.md"));
    std::fs::write(&path, text)?;
    println!("written to {}", path.display());
    Ok(())
}
