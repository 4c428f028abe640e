//! The report as Markdown: one table for each kind of figure, with machine and commit.

use std::{fmt::Write, process::Command};

use crate::{boots, memory, sizes};

/// Renders everything that was measured.
pub(crate) fn render(boots: &[boots::Figure], memory: &[memory::Figure], sizes: &[sizes::Figure]) -> String {
    let mut text = String::from("# Figures\n\nWritten by `make bench`; not edited by hand.\n\n");
    let _ = writeln!(text, "Commit {}, {}, {}.\n", commit(), emulator(), processor());
    boot_table(&mut text, boots);
    phase_table(&mut text, boots);
    memory_table(&mut text, memory);
    size_table(&mut text, sizes);
    text
}

fn boot_table(text: &mut String, boots: &[boots::Figure]) {
    text.push_str(
        "## Boot\n\nVirtual seconds from power-on to the API answering: 1 instruction is 1 ns, one processor, 1 GiB. The \
         baseline is a static init that brings the network up and answers on a TCP port, with the same kernel and command line.\n\n\
         | kernel | way | Stele | baseline | ratio |\n|---|---|---|---|---|\n",
    );
    for figure in boots {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.2} |",
            figure.kernel,
            figure.way.name(),
            figure.stele,
            figure.baseline,
            figure.stele / figure.baseline
        );
    }
}

fn phase_table(text: &mut String, boots: &[boots::Figure]) {
    text.push_str("\n### By phase\n\n| kernel | way | phases, virtual s |\n|---|---|---|\n");
    for figure in boots {
        let phases: Vec<String> = figure.phases.iter().map(|(name, took)| format!("{name} {took:.2}")).collect();
        let _ = writeln!(text, "| {} | {} | {} |", figure.kernel, figure.way.name(), phases.join(", "));
    }
}

fn memory_table(text: &mut String, memory: &[memory::Figure]) {
    text.push_str(
        "\n## Memory\n\nMiB in use (MemTotal less MemAvailable) on an idle machine of 1 GiB, and the proportional set size of \
         each process.\n\n| kernel | Stele | baseline | difference | processes |\n|---|---|---|---|---|\n",
    );
    for figure in memory {
        let processes: Vec<String> =
            figure.processes.iter().map(|(name, pss)| format!("{name} {:.1}", mib(*pss))).collect();
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.1} | {} |",
            figure.kernel,
            mib(figure.used),
            mib(figure.baseline),
            mib(figure.used) - mib(figure.baseline),
            processes.join(", ")
        );
    }
}

fn size_table(text: &mut String, sizes: &[sizes::Figure]) {
    text.push_str("\n## Size\n\n| kernel | part | MiB |\n|---|---|---|\n");
    for figure in sizes {
        for (name, bytes) in &figure.parts {
            let _ = writeln!(text, "| {} | {name} | {:.2} |", figure.kernel, mib(bytes / 1024));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "printed with two digits at the most")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn commit() -> String {
    said("git", &["describe", "--always", "--dirty"]).unwrap_or_else(|| "unknown".into())
}

fn emulator() -> String {
    let version = said("qemu-system-x86_64", &["--version"]).unwrap_or_default();
    version.lines().next().unwrap_or_default().to_owned()
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1).map(str::to_owned));
    format!("{} x {}", text.matches("processor\t").count(), model.unwrap_or_else(|| "unknown processor".into()))
}

#[expect(clippy::disallowed_methods, reason = "runs on the workstation, not on a node")]
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(tests::artifacts::root()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
