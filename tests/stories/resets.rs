//! Resets: what lies under /var is made anew and the node stays what it is; STATE is wiped from the recovery system, and none of
//! its secrets is left on the disk; one that is cut off is finished by the next start. And a stop ends although a file system
//! stays busy.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{
    apictl::Apictl,
    artifacts, child,
    machine::{self, Machine},
    operator::{Operator, wait_blessed},
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Spec, Vm, free_port},
    wait,
};

use crate::boot_disk::BootDisk;

const MARKER: &str = "/var/marker";
/// Bytes a second: so that wiping STATE takes long enough to be cut.
const SLOW: u64 = 16 << 20;
/// The same: a disk that as good as hangs.
const HANGS: u64 = 1024;

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("a_reset_makes_var_anew_leaves_no_secret_and_is_finished_after_a_cut", resets),
        Story::new("a_stop_ends_although_a_file_system_stays_busy", busy),
    ]
}

/// A machine whose disk is one file, switched on.
struct Node {
    folder: Scratch,
    disk: BootDisk,
    spec: Spec,
}

impl Node {
    fn new() -> Result<Self> {
        let disk = BootDisk::roomy()?;
        let spec = Spec { port: free_port()?, ..disk.whole_spec()? };
        Ok(Self { folder: Scratch::new()?, disk, spec })
    }

    fn start(&self) -> Result<Vm> {
        Vm::start_in(&self.spec, self.folder.path())
    }

    /// With the fingerprint of its console.
    fn boot(&self) -> Result<Machine> {
        let vm = self.start()?;
        vm.wait_line("stele: api ready", BOOT)?;
        let apictl = Apictl::of(&vm)?;
        Ok(Machine { vm, apictl })
    }

    /// Which of these are on the disk as the machine sees it: one pass, since it is large.
    fn on_disk(&self, secrets: &[String]) -> Result<BTreeSet<String>> {
        let patterns = secrets.iter().flat_map(|secret| ["-e", secret.as_str()]);
        let searched = child::free("grep").args(["-a", "-o", "-F"]).args(patterns).arg(self.disk.path()).output()?;
        ensure!(searched.status.code().is_some_and(|code| code < 2), "grep: {}", searched.status);
        Ok(String::from_utf8_lossy(&searched.stdout).lines().map(str::to_owned).collect())
    }
}

/// What the disk of a configured node holds and nobody may find on it any more: the authorities of its documents, and its own
/// key.
fn secrets(machine: &Machine, operator: &Operator) -> Result<Vec<String>> {
    let base64 = |text: &str| -> Vec<String> {
        text.lines().map(str::trim).filter(|line| line.len() == 64 && !line.contains(' ')).map(str::to_owned).collect()
    };
    let mut all = Vec::new();
    for entry in fs::read_dir(operator.documents())? {
        all.extend(base64(&fs::read_to_string(entry?.path())?));
    }
    ensure!(all.len() > 4, "the documents hold no certificates: {all:?}");
    let key = machine.chaos()?.call("cat /run/stele/state/identity/node.pem")?.join("\n");
    ensure!(key.contains("PRIVATE KEY"), "no key of the node: {key}");
    // Its certificate follows: the authority's is there twice.
    all.extend(base64(&key));
    all.sort();
    all.dedup();
    Ok(all)
}

/// Writes to the disk take their time from now on.
fn throttle(vm: &Vm, bytes_a_second: u64) -> Result<()> {
    let mut limits = json!({"device": "disk0", "bps_wr": bytes_a_second});
    for other in ["bps", "bps_rd", "iops", "iops_rd", "iops_wr"] {
        limits[other] = 0.into();
    }
    vm.qmp.execute("block_set_io_throttle", limits).map(drop)
}

fn volume(apictl: &Apictl, name: &str, phase: &str) -> Result<Value> {
    let what = format!("{name} to be {phase}");
    apictl.wait_for("volume", name, &what, |volume| volume["value"]["phase"] == phase)
}

fn machine_id(apictl: &Apictl) -> Result<String> {
    let machine = apictl.get("machine", "machine")?;
    Ok(machine["value"]["machineId"].as_str().context("no machine id")?.to_owned())
}

/// Resets, and returns what apictl said.
fn reset(apictl: &Apictl, arguments: &[&str]) -> Result<String> {
    let asked = apictl.run_within(2 * BOOT, &[&["reset"], arguments].concat())?;
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    ensure!(asked.status.success(), "apictl reset {}: {}: {said}", arguments.join(" "), asked.status);
    Ok(said)
}

fn resets() -> Result<()> {
    let node = Node::new()?;
    let mut machine = node.boot()?;
    let (operator, secrets, first) = machine::told(&mut machine, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "node-1")?;
        wait_blessed(&machine.apictl, 1)?;
        volume(&machine.apictl, "EPHEMERAL", "mounted")?;
        machine.chaos()?.call(&format!("write {MARKER} kept"))?;
        let secrets = secrets(machine, &operator)?;
        ensure!(node.on_disk(&secrets)?.len() == secrets.len(), "they are not found where they are: {secrets:?}");
        let first = machine_id(&machine.apictl)?;

        ephemeral(machine, &first)?;
        state_from_recovery(machine, &first)?;
        ensure!(node.on_disk(&secrets)?.is_empty(), "still on the disk: {:?}", node.on_disk(&secrets)?);
        Ok((operator, secrets, first))
    })?;

    // The same documents again, and a reset of all that is cut off in the middle.
    let secrets = machine::told(&mut machine, |machine| {
        operator.apply(&machine.apictl, &[])?;
        machine.apictl.use_context();
        wait_blessed(&machine.apictl, 1)?;
        volume(&machine.apictl, "EPHEMERAL", "mounted")?;
        let again = self::secrets(machine, &operator)?;
        ensure!(again != secrets, "the key of the node is the one from before");
        throttle(&machine.vm, SLOW)?;
        let mark = machine.vm.console.len();
        reset(&machine.apictl, &["all", "--off", "--yes", "--no-wait", "--reason", "sold"])?;
        machine.vm.wait_line_after("stele: reset: wiping STATE, 25 % done", mark, BOOT)?;
        Ok([secrets, again].concat())
    })?;
    drop(machine);
    let mut vm = node.start()?;
    vm.wait_off(BOOT)?;
    let wiped = vm.console.line("stele: reset: wiping STATE, 0 % done");
    ensure!(wiped.is_some(), "it was not begun again:\n{}", vm.console.tail(40));
    ensure!(vm.console.line("stele: phase maintenance").is_none(), "it was open:\n{}", vm.console.tail(40));
    drop(vm);
    ensure!(node.on_disk(&secrets)?.is_empty(), "still on the disk: {:?}", node.on_disk(&secrets)?);

    let mut machine = node.boot()?;
    machine::told(&mut machine, |machine| {
        machine.apictl.wait_maintenance()?;
        ensure!(machine_id(&machine.apictl)? != first, "it is still the first machine");
        let record = machine.boot_record()?;
        let (last, done) = (&record["value"]["last"], &record["value"]["reset"]);
        ensure!(last["ended"] == "power-off" && last["reason"].to_string().contains("sold"), "{record}");
        ensure!(done["done"] == true && done["what"] == "STATE and EPHEMERAL", "{record}");
        Ok(())
    })
}

/// What is under /var goes, and the node is what it was.
fn ephemeral(machine: &Machine, id: &str) -> Result<()> {
    let apictl = &machine.apictl;
    let said = reset(apictl, &["ephemeral", "--yes", "--reason", "full of old images"])?;
    ensure!(said.contains("is back (running)"), "{said}");
    volume(apictl, "EPHEMERAL", "mounted")?;
    let left = machine.chaos()?.call("ls /var")?;
    ensure!(!left.iter().any(|name| MARKER.ends_with(name.as_str())), "it was not made anew: {left:?}");
    wait_blessed(apictl, 1)?;
    ensure!(machine_id(apictl)? == id, "another machine");
    let record = machine.boot_record()?;
    let (last, done) = (&record["value"]["last"], &record["value"]["reset"]);
    ensure!(last["ended"] == "reboot" && last["reason"].to_string().contains("reset of EPHEMERAL by"), "{record}");
    ensure!(done["done"] == true && done["cause"].to_string().contains("full of old images"), "{record}");
    let audit = apictl.ok(&["audit", "list"])?;
    ensure!(audit.contains("Reset"), "it is not in the audit log:\n{audit}");
    Ok(())
}

/// STATE goes, and with it what the node was; its versions stay.
fn state_from_recovery(machine: &mut Machine, id: &str) -> Result<()> {
    let asked = machine.apictl.run_within(BOOT, &["reboot", "--recovery"])?;
    ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let said = reset(&machine.apictl, &["state", "--yes", "--reason", "sold"])?;
    ensure!(said.contains("in maintenance") && said.contains("apictl apply-config"), "{said}");
    let shown = machine.vm.console.line_after("stele: reset: done", 0).context("the console says nothing of it")?;
    ensure!(!shown.is_empty());
    let fingerprint = said.split_whitespace().find(|word| word.len() == 64).context("no fingerprint")?.to_owned();
    ensure!(machine.vm.console.line(&format!("stele: fingerprint {fingerprint}")).is_some(), "not that of the console");
    let refused = machine.apictl.run(&["version"])?;
    ensure!(!refused.status.success(), "it shows a certificate that the old authority vouches for");

    machine.apictl = Apictl::insecure(&machine.vm);
    machine.apictl.pin(&fingerprint);
    let apictl = &machine.apictl;
    apictl.wait_maintenance()?;
    ensure!(machine_id(apictl)? != id, "the same machine");
    let generation = apictl.get("generation", "1")?;
    let (state, revision) = (&generation["value"]["state"], &generation["value"]["revision"]);
    ensure!(*state == "blessed" && revision.is_null(), "{generation}");
    let done = &machine.boot_record()?["value"]["reset"];
    ensure!(done["done"] == true && done["what"] == "STATE" && done["cause"].to_string().contains("sold"), "{done}");
    // Nothing but the machine's own memory would tell the next one that it was configured.
    let conditions = apictl.list("conditions")?;
    ensure!(!conditions.iter().any(|one| one["id"] == "reset"), "{conditions:?}");
    Ok(())
}

/// The disk hangs while a file on it is written: no phase of the stop waits for it for ever.
fn busy() -> Result<()> {
    machine::with(&Spec::roomy_kernel(&artifacts::test_image())?, |machine| {
        machine.apictl.wait_maintenance()?;
        Operator::new(machine)?.configure(machine, "node-1")?;
        wait_blessed(&machine.apictl, 1)?;
        volume(&machine.apictl, "EPHEMERAL", "mounted")?;
        let before = written(&machine.vm)?;
        // Held: a wire that is cut loses what the machine has not read yet.
        let mut chaos = machine.chaos()?;
        chaos.last_words("fill /var/busy")?;
        wait::until("the file to be written", BOOT, || {
            written(&machine.vm).is_ok_and(|now| now > before + (8 << 20)).then_some(())
        })?;
        throttle(&machine.vm, HANGS)?;
        let mark = machine.vm.console.len();
        machine.vm.qmp.ctrl_alt_del()?;
        machine.vm.wait_line_after("stele: stopping: unmounting", mark, BOOT)?;
        machine.vm.wait_line_after("unmounting takes too long; going on", mark, BOOT)?;
        machine.vm.wait_line_after("stele: stopping: reboot", mark, BOOT)?;
        machine.vm.wait_line_after("stele: init started", mark, BOOT)?;
        throttle(&machine.vm, 0)?;
        wait_blessed(&machine.apictl, 1)?;
        volume(&machine.apictl, "EPHEMERAL", "mounted").map(drop)
    })
}

/// Bytes the machine has had written to its disk.
fn written(vm: &Vm) -> Result<u64> {
    let stats = vm.qmp.execute("query-blockstats", json!({}))?;
    let disks = stats.as_array().context("no statistics")?;
    let disk = disks.iter().find(|disk| disk["device"] == "disk0").context("no disk0")?;
    disk["stats"]["wr_bytes"].as_u64().context("no wr_bytes")
}
