//! The report as Markdown: one table for each kind of figure, with machine and commit.

use std::{fmt::Write, process::Command};

use crate::{boots, changes, memory, sizes, upgrade};

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) boots: Vec<boots::Figure>,
    pub(crate) changes: Option<changes::Figures>,
    pub(crate) upgrade: Option<upgrade::Figures>,
    pub(crate) memory: Vec<memory::Figure>,
    pub(crate) sizes: Vec<sizes::Figure>,
}

/// Renders it; a kind of figures that was not taken is left out.
pub(crate) fn render(figures: &Figures) -> String {
    let mut text = String::from("# Figures\n\nWritten by `make bench`; not edited by hand.\n\n");
    let _ = writeln!(text, "Commit {}, {}, {}.", commit(), emulator(), processor());
    if !figures.boots.is_empty() {
        boot_table(&mut text, &figures.boots);
        phase_table(&mut text, &figures.boots);
    }
    if let Some(changes) = &figures.changes {
        setting_table(&mut text, changes);
        many_table(&mut text, changes);
    }
    if let Some(upgrade) = &figures.upgrade {
        upgrade_tables(&mut text, upgrade);
    }
    if !figures.memory.is_empty() {
        memory_table(&mut text, &figures.memory);
    }
    if !figures.sizes.is_empty() {
        size_table(&mut text, &figures.sizes);
    }
    text
}

fn boot_table(text: &mut String, boots: &[boots::Figure]) {
    text.push_str(
        "\n## Boot\n\nVirtual seconds from power-on to the API answering: 1 instruction is 1 ns, one processor, 1 GiB. The \
         baseline is a static init that brings the network up and answers on a TCP port, with the same kernel and command line. \
         \"Configured\" is a machine that was configured in an earlier boot and shut down: it finds STATE, loads its revision and \
         serves with its certificate. Each is booted until two boots agree within 1 %, and the quicker one counts: time jumps \
         ahead while a machine waits for its disk. Machines by firmware have a SATA controller without a disk, unless it says \
         otherwise. Our loader is in front of Stele's UKI alone: it reads the boot state, hashes the UKI, and counts.\n\n\
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

fn setting_table(text: &mut String, changes: &changes::Figures) {
    let changes::Setting { times, call, answered, after_answer, effect } = &changes.setting;
    let _ = writeln!(
        text,
        "\n## Changes of the configuration\n\nSeconds by the clock, on an emulated machine of 1 GiB and one processor, from the \
         start of `apictl`: it reads the documents, connects, and asks. `apply-config --no-wait` ends with the answer, when the \
         revision is durable; the effect is when a watch shows it. Between the two the machine waits 0.2 s on purpose, for the \
         answer to leave. A small call (`apictl get config-status config`), taken before each change, says how fast machine and \
         emulator were. {times} changes of one `Sysctl`, each after the one before was proven.\n\n\
         | from the start of apictl | median | worst |\n|---|---|---|"
    );
    let rows = [
        ("a small call, for comparison", call),
        ("answered: the change is durable", answered),
        ("in effect: a watch shows the value in the kernel", effect),
        ("of that on the node's own clock: from durable to the start of its effect", after_answer),
    ];
    for (what, took) in rows {
        let _ = writeln!(text, "| {what} | {:.2} | {:.2} |", took.median, took.worst);
    }
}

fn many_table(text: &mut String, changes: &changes::Figures) {
    let _ = writeln!(
        text,
        "\n### Many documents\n\nSo many `StaticHost` documents instead of those before, applied at once; in effect when a watch \
         shows the last of them. Then one `Sysctl` is changed among them (median of {}), and machined's proportional set size \
         is read; before the first it was {:.1} MiB. A request holds 1 MiB of documents.\n\n\
         | documents | KiB | answered | in effect | small call | one setting answered | one setting in effect | machined, MiB |\n\
         |---|---|---|---|---|---|---|---|",
        changes.many.first().map_or(0, |many| many.setting.times),
        mib(changes.memory)
    );
    for many in &changes.many {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} |",
            many.documents,
            many.bytes.div_ceil(1024),
            many.answered,
            many.effect,
            many.setting.call.median,
            many.setting.answered.median,
            many.setting.effect.median,
            mib(many.memory)
        );
    }
}

fn upgrade_tables(text: &mut String, upgrade: &upgrade::Figures) {
    let parts: Vec<_> = upgrade.parts.iter().map(|(name, bytes)| format!("{name} {:.1}", mib(bytes / 1024))).collect();
    let _ = writeln!(
        text,
        "\n## Upgrade\n\nA configured machine of 1 GiB and one processor, emulated, started by firmware, pulls another version \
         from a registry on the same host through the emulator's network, and starts it. Parts of the image, in MiB: {}; all of \
         them are fetched. The steps are the job's, by the node's own clock: `resolve` checks signature and manifest, `fetch` \
         hashes every byte as it comes, `verify` looks whether programs are whole, `check` has the new version read the \
         documents, `stage` writes to the EFI partition and reads back. After a power cut: the same upgrade, the machine reset \
         when it begins to stage, and what the job did in the next boot.\n\n\
         | step | s | MiB | after a power cut, s | MiB |\n|---|---|---|---|---|",
        parts.join(", ")
    );
    for step in &upgrade.steps {
        let again = upgrade.resumed.iter().find(|again| again.name == step.name);
        let again = again.map_or(" | ".into(), moved);
        let _ = writeln!(text, "| {} | {} | {again} |", step.name, moved(step));
    }
    let upgrade::Figures { clock, counted, .. } = upgrade;
    let _ = writeln!(
        text,
        "\nUp to the reboot the emulator wrote {:.1} MiB to the disk: the pulled parts, the EFI partition, boot state and logs. \
         The program that pulls had {:.1} MiB of memory at most, with the cache of the parts that it writes.\n\n\
         How long the API is away: by the clock, looked at ten times a second, from the accepted reboot until it answers; and, \
         since a clock says little of an emulated machine, in virtual seconds from power-on as in the tables above. On trial our \
         loader hashes the UKI and writes down the try before it starts it. {:.1} s after the accepted reboot the new version was \
         proven.\n\n\
         | boot | by the clock, s | from power-on, virtual s |\n|---|---|---|\n\
         | of the upgrade | {:.1} | {:.2} |\n| the same machine without an upgrade | {:.1} | {:.2} |\n\
         | baseline, from power-on | {:.1} | {:.2} |",
        mib(upgrade.written / 1024),
        mib(upgrade.memory),
        upgrade.proven,
        clock.trial,
        counted.trial,
        clock.ordinary,
        counted.ordinary,
        clock.baseline,
        counted.baseline,
    );
}

fn moved(step: &upgrade::Step) -> String {
    let bytes =
        if matches!(&*step.name, "fetch" | "stage") { format!("{:.1}", mib(step.bytes / 1024)) } else { String::new() };
    format!("{:.2} | {bytes}", step.seconds)
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
