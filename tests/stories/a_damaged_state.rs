//! What happens to the volumes of a configured machine: its disk grows, the power goes, STATE is wiped behind its back. And
//! what is found in their place on a machine that is to be configured: what is foreign is named and stays, what was never
//! finished is made anew.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{
    apictl::Apictl,
    artifacts,
    machine::{self, Machine},
    operator::{Operator, wait_blessed},
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Disk, Spec},
};

use crate::damage;

const MIB: u64 = 1 << 20;

/// Types of the partitions (installer/boot/src/part.rs), as they lie in a table.
const STATE: [u8; 16] =
    [0x52, 0x57, 0x78, 0xdd, 0x35, 0xf1, 0xe0, 0x40, 0x9c, 0xe3, 0xf4, 0x15, 0xa3, 0x2e, 0x4b, 0x3b];
const EPHEMERAL: [u8; 16] =
    [0x6e, 0xd9, 0x1f, 0x96, 0xee, 0x42, 0x97, 0x4e, 0x9b, 0xc5, 0xa7, 0xe9, 0x4a, 0x59, 0x91, 0x22];

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("volumes_grow_survive_a_power_cut_and_a_wiped_state_opens_nothing", life),
        Story::new("a_foreign_file_system_in_the_place_of_state_is_named_and_stays", foreign),
    ]
}

fn life() -> Result<()> {
    machine::with(&Spec::roomy_kernel(&artifacts::test_image())?, |machine| {
        machine.apictl.wait_maintenance()?;
        let none = volume(&machine.apictl, "STATE", "absent")?;
        ensure!(none["reason"].to_string().contains("first configuration"), "{none}");
        let stranger = Apictl::of(&machine.vm)?;
        Operator::new(machine)?.configure(machine, "node-1")?;
        let apictl = &machine.apictl;
        wait_blessed(apictl, 1)?;
        volume(apictl, "STATE", "mounted")?;
        let small = size(&volume(apictl, "EPHEMERAL", "mounted")?)?;

        // It grows while the machine runs.
        machine.vm.qmp.execute("block_resize", serde_json::json!({"device": "disk0", "size": 6u64 << 30}))?;
        apictl.wait_for("volume", "EPHEMERAL", "EPHEMERAL to grow", |volume| {
            size(&volume["value"]).is_ok_and(|size| size > small + 1900 * MIB)
        })?;

        // The next machined finds both mounted, and leaves them so.
        let mut chaos = machine.chaos()?;
        chaos.kill("machined", "KILL")?;
        wait_blessed(apictl, 1)?;
        volume(apictl, "STATE", "mounted")?;
        let mounts = chaos.call("kmsg mounted filesystem")?;
        ensure!(mounts.iter().filter(|line| line.contains("EXT4")).count() == 1, "mounted again: {mounts:?}");

        // The power goes: checked, and what was applied is there.
        drop(chaos);
        let mark = machine.vm.console.len();
        machine.vm.qmp.reset()?;
        machine.vm.wait_line_after("stele: api ready", mark, BOOT)?;
        wait_blessed(apictl, 1)?;
        ensure!(checks(machine)? == 1, "STATE was not checked after the power had gone");
        ensure!(size(&volume(apictl, "EPHEMERAL", "mounted")?)? > small + 1900 * MIB, "it has shrunk");

        // An orderly stop leaves nothing to check.
        let mark = machine.vm.console.len();
        machine.vm.qmp.ctrl_alt_del()?;
        machine.vm.wait_line_after("stele: init started", mark, BOOT)?;
        machine.vm.wait_line_after("stele: api ready", mark, BOOT)?;
        wait_blessed(apictl, 1)?;
        ensure!(checks(machine)? == 0, "STATE was not unmounted by an orderly stop");

        // Wiped behind its back: nobody is let in, and the console says why.
        let partitions = apictl.list("partitions")?;
        let state = partitions.iter().find(|partition| partition["value"]["label"] == "STATE").context("no STATE")?;
        let start = state["value"]["start"].as_u64().context("no start")?;
        let mark = machine.vm.console.len();
        machine.vm.qmp.human("stop")?;
        wipe(machine, start)?;
        machine.vm.qmp.reset()?;
        machine.vm.qmp.human("cont")?;
        let why = machine.vm.wait_line_after("holds no file system", mark, BOOT)?;
        let said = ["STATE: META says that this machine is configured", "install anew"];
        ensure!(said.iter().all(|part| why.contains(part)), "{why}");
        ensure!(!stranger.run(&["version"])?.status.success(), "a stranger is let in");
        ensure!(!apictl.run(&["version"])?.status.success(), "whom the lost configuration accepted is let in");
        Ok(())
    })
}

fn foreign() -> Result<()> {
    let image = artifacts::test_image();
    let folder = Scratch::new()?;
    let raw = folder.path().join("foreign.raw");
    // Behind META: 256 MiB in which somebody has an XFS, and 512 MiB that hold swap.
    let (state, ephemeral) = (2051 * MIB, 2307 * MIB);
    damage::copy(&image.raw()?, &raw, |start| {
        let parts = [(STATE, "STATE", state, 256 * MIB), (EPHEMERAL, "EPHEMERAL", ephemeral, 512 * MIB)];
        damage::with_partitions(start, &parts)
    })?;
    damage::write(&raw, 4096 * MIB - 1, &[0])?;
    damage::write(&raw, state, b"XFSB")?;
    damage::write(&raw, ephemeral + 4086, b"SWAPSPACE2")?;
    let mut spec = Spec::roomy_kernel(&image)?;
    spec.disks = vec![Disk::of(&raw)];
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        let found = volume(&machine.apictl, "STATE", "unusable")?;
        ensure!(found["reason"].to_string().contains("(xfs)"), "it is not named: {found}");
        let operator = Operator::new(machine)?;
        operator.generate(machine, "node-1")?;
        let apply = ["apply-config", "-f", &operator.documents(), "--secrets", &operator.secrets()];
        let refused = machine.apictl.run(&apply)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && said.contains("(xfs)"), "{}: {said}", refused.status);
        let read = machine.vm.qmp.human(&format!("qemu-io disk0 \"read -P 0x58 {state} 1\""))?;
        ensure!(!read.contains("verification failed"), "it was overwritten: {read}");

        // Whoever it belonged to has moved it: what is left is a partition that nobody has ever used.
        wipe(machine, state)?;
        operator.configure(machine, "node-1")?;
        wait_blessed(&machine.apictl, 1)?;
        volume(&machine.apictl, "STATE", "mounted")?;
        // The other one is left alone, and the machine runs without.
        let swap = volume(&machine.apictl, "EPHEMERAL", "unusable")?;
        ensure!(swap["reason"].to_string().contains("holds swap"), "it is not named: {swap}");
        let condition = machine.apictl.get("condition", "ephemeral")?;
        ensure!(condition["value"]["met"] == false && condition["value"]["required"] == false, "{condition}");
        Ok(())
    })
}

/// A volume once it is in this phase.
fn volume(apictl: &Apictl, name: &str, phase: &str) -> Result<Value> {
    let what = format!("{name} to be {phase}");
    let found = apictl.wait_for("volume", name, &what, |volume| volume["value"]["phase"] == phase)?;
    Ok(found["value"].clone())
}

fn size(volume: &Value) -> Result<u64> {
    volume["size"].as_u64().context("a volume without size")
}

/// How often STATE was checked in this boot.
fn checks(machine: &Machine) -> Result<usize> {
    Ok(machine.chaos()?.call("kmsg running /usr/sbin/e2fsck")?.len())
}

/// Zeros over the first MiB of a partition, under the machine.
fn wipe(machine: &Machine, start: u64) -> Result<()> {
    let said = machine.vm.qmp.human(&format!("qemu-io disk0 \"write -z {start} 1M\""))?;
    ensure!(!said.to_lowercase().contains("error") && !said.contains("failed"), "qemu-io: {said}");
    Ok(())
}
