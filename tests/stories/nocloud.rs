//! A machine with a NoCloud disk configures itself with nobody at it: it never opens maintenance, says which source it used and
//! why not the others, and lets in whom the user-data names. It is the same after a reboot without the disk.

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use anyhow::{Result, ensure};
use tests::{
    artifacts, child,
    nocloud::{self, Files},
    operator::wait_blessed,
    runner::Story,
    scratch::Scratch,
    vm::{self, BOOT, Bus, Disk, Spec, Vm},
};

const NETWORK: &str = "version: 2\nethernets:\n  eth0:\n    dhcp4: true\n";

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_nocloud_disk_configures_the_machine_with_nobody_at_it", story)]
}

fn story() -> Result<()> {
    let folder = Scratch::new()?;
    let mut spec = Spec::roomy_kernel(&artifacts::test_image())?;
    spec.port = vm::free_port()?;
    let (workstation, user_data) = nocloud::user_data(folder.path(), (Ipv4Addr::LOCALHOST, spec.port).into())?;
    let files = Files {
        user_data: user_data.as_bytes(),
        meta_data: "instance-id: i-7\nlocal-hostname: node-7\n",
        network_config: NETWORK,
    };
    let seed = nocloud::disk(folder.path(), "seed", "iso9660", files)?;
    spec.disks.push(Disk { bus: Bus::Optical, ..Disk::of(&seed) });
    let machine = Vm::start(&spec)?;
    for line in [
        "stele: config image: nothing: none was built into the image",
        "stele: config nocloud: used /dev/sr0 (user-data, meta-data, network-config)",
        "stele: config nocloud-url: skipped: the configuration is from elsewhere",
        "stele: phase running",
    ] {
        machine.wait_line(line, BOOT)?;
    }
    ensure!(
        machine.console.count("stele: phase maintenance") == 0,
        "it opened maintenance: {}",
        machine.console.tail(60)
    );
    wait_blessed(&workstation, 1)?;
    let named = |machine: &serde_json::Value| machine["value"]["hostname"] == "node-7";
    workstation.wait_for("machine", "machine", "the host name of meta-data", named)?;
    let source = workstation.get("config-source", "20-nocloud")?;
    ensure!(source["value"]["instanceId"] == "i-7", "the instance: {source}");

    let chain = workstation.ok(&["explain", "Link/eth0"])?;
    ensure!(chain.contains("document       Link/eth0: line") && chain.contains("link eth0"), "explain: {chain}");
    support(folder.path(), |place| workstation.ok(&["support", "-o", place]).map(drop))?;

    // What is on the disk counts no more, also when it is another configuration's.
    let mark = machine.console.len();
    workstation.ok(&["reboot", "--no-wait", "--reason", "to see whether it stays itself"])?;
    machine.wait_line_after("stele: config state: used revision 1", mark, BOOT)?;
    machine.wait_line_after("stele: config nocloud: skipped: STATE has the configuration", mark, BOOT)?;
    wait_blessed(&workstation, 1)?;
    Ok(())
}

/// What a maintainer needs is in the archive, and no key.
fn support(folder: &Path, write: impl Fn(&str) -> Result<()>) -> Result<()> {
    let place = folder.join("support.tar.gz").display().to_string();
    write(&place)?;
    let tar = |arguments: &[&str]| -> Result<String> {
        let mut command: Command = child::free("tar");
        let output = command.args(arguments).output()?;
        ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let files = tar(&["-tzf", &place])?;
    for wanted in [
        "versions.json",
        "resources/link.json",
        "resources/config-source.json",
        "logs/machined.log",
        "dmesg.log",
        "controllers.json",
        "config/documents.yaml",
        "config/history.json",
        "config/revisions/1.yaml",
        "audit-head.json",
        "audit.json",
    ] {
        ensure!(files.contains(wanted), "support has no {wanted}: {files}");
    }
    let whole = tar(&["-xzOf", &place])?;
    ensure!(!whole.contains("PRIVATE KEY") && whole.len() > 10_000, "support holds a key");
    ensure!(!files.contains("missing.txt"), "not everything could be had: {whole}");
    drop(fs::remove_file(&place));
    Ok(())
}
