//! `make bench`: boot time in instruction-counted virtual time, memory in use, sizes; each next to a bare baseline of its
//! own, measured in the same run. And how long a change of the configuration takes, and an upgrade. Prints a report and writes it to
//! `docs/figures.md`.
//!
//! Wall time on a busy machine says nothing; counted instructions repeat within 0.02 %. The figures are for comparison:
//! devices are free in them, and every instruction costs the same. A change is a conversation with a workstation, whose
//! instructions nobody counts: it is measured by the clock, beside a small call.

mod boots;
mod changes;
mod configured;
mod memory;
mod report;
mod sizes;
mod stamped;
mod upgrade;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use tests::artifacts;

use report::Figures;

#[derive(Parser)]
#[command(about = "Measure Stele beside a bare baseline")]
struct Cli {
    /// The folder with the built images
    #[arg(long, default_value = "_out")]
    out: PathBuf,
    /// Kernels to measure; one whose images are not built is left out, and the report says so
    #[arg(long, value_delimiter = ',', default_value = "cloud,generic")]
    kernels: Vec<String>,
    /// Figures to take; a report of some is printed, and written only with --report
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// Where the report is written [default: docs/figures.md]
    #[arg(long)]
    report: Option<PathBuf>,
}

/// A kind of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Boots,
    Changes,
    Memory,
    Sizes,
    Upgrade,
}

impl Part {
    const ALL: [Self; 5] = [Self::Boots, Self::Changes, Self::Memory, Self::Sizes, Self::Upgrade];
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let wanted = |part| cli.only.contains(&part);
    let mut figures = Figures::default();
    for kernel in &cli.kernels {
        if wanted(Part::Boots) {
            figures.boots.extend(boots::measure(kernel)?);
        }
        if wanted(Part::Memory) {
            figures.memory.push(memory::measure(kernel)?);
        }
    }
    // Which kernel it is makes no difference to these.
    if let Some(kernel) = cli.kernels.first().filter(|_| wanted(Part::Changes)) {
        figures.changes = Some(changes::measure(kernel)?);
    }
    if wanted(Part::Upgrade) {
        figures.upgrade = Some(upgrade::measure()?);
    }
    if wanted(Part::Sizes) {
        figures.sizes = sizes::measure(&cli.out, &cli.kernels)?;
    }
    let text = report::render(&figures);
    println!("{text}");
    let all = Part::ALL.into_iter().all(wanted);
    if let Some(path) = cli.report.or_else(|| all.then(|| artifacts::root().join("docs/figures.md"))) {
        std::fs::write(&path, text)?;
        println!("written to {}", path.display());
    }
    Ok(())
}
