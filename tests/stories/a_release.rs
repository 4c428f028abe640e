//! What a release left on a node's disk is read by every later one: a node of it is upgraded with its configuration, its identity and
//! its history. The disk, without the UKIs, and its operator's secrets are in `tests/releases`, with the commit that made them.

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts,
    operator::{Operator, wait_blessed},
    runner::Story,
};

use crate::{
    boot_disk::BootDisk,
    generations::{Node, wait_generation},
    versions,
};

/// The one that is kept.
const FIRST: &str = "first";

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("a_node_of_the_first_release_is_upgraded_with_all_that_it_is", upgraded),
        Story::long("the_disk_of_a_release_is_made", made),
    ]
}

fn kept(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("releases").join(name)
}

const DOCUMENTS: [(&str, &str); 4] = [
    ("tune", "kind: Sysctl\nname: tune\nsettings: { vm.swappiness: \"10\" }\n"),
    ("hosts", "kind: StaticHost\nname: db.example.com\naddresses: [10.9.8.7]\n"),
    ("policy", "kind: ImagePolicy\nverify: warn\n"),
    ("looked", "kind: Gate\nname: looked\nwritable: /var\n"),
];

/// For a new release: makes its disk, in the place of what was kept under this name.
fn made() -> Result<()> {
    let folder = kept("made");
    fs::create_dir_all(&folder)?;
    let node = Node::new(BootDisk::roomy()?)?;
    let operator = node.run(false, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "node-1")?;
        wait_blessed(&machine.apictl, 1)?;
        for (name, document) in DOCUMENTS {
            operator.write(name, document)?;
        }
        operator.apply(&machine.apictl, &[])?;
        wait_blessed(&machine.apictl, 2)?;
        fs::copy(operator.secrets(), folder.join("secrets.yaml"))?;
        Ok(operator)
    })?;
    ensure!(node.disk.stage(&versions::another(1)?)? == 2, "another number");
    node.run(true, |machine| {
        wait_generation(&machine.apictl, 2, "blessed", &["running", "current"], Some(2))?;
        operator.write("more", "kind: Sysctl\nname: more\nsettings: { vm.dirty_ratio: \"15\" }\n")?;
        operator.apply(&machine.apictl, &[])?;
        wait_blessed(&machine.apictl, 3).map(drop)
    })?;
    node.disk.keep(&folder.join("disk.qcow2.zst"))
}

fn upgraded() -> Result<()> {
    let folder = kept(FIRST);
    let node = Node::new(BootDisk::kept(&folder.join("disk.qcow2.zst"))?)?;
    let uki = fs::read(artifacts::test_image().uki()?)?;
    ensure!(node.disk.stage(&uki)? == 3, "another number");
    node.run(false, |machine| {
        let operator = Operator::of(machine, &folder.join("secrets.yaml"))?;
        operator.generate(machine, "node-1")?;
        machine.apictl.use_context();
        told(&machine.apictl)
    })
}

fn told(apictl: &Apictl) -> Result<()> {
    wait_generation(apictl, 3, "blessed", &["running", "current"], Some(3))?;
    wait_generation(apictl, 2, "blessed", &[], Some(3))?;
    wait_blessed(apictl, 3)?;
    let history = apictl.json(&["config", "history"])?;
    ensure!(history.as_array().is_some_and(|all| all.len() == 3), "not its revisions: {history}");
    let machine = apictl.get("machine", "machine")?;
    ensure!(machine["value"]["hostname"] == "node-1", "not its name: {machine}");
    for setting in ["vm.swappiness", "vm.dirty_ratio"] {
        let shown = apictl.wait_for("sysctl", setting, "the setting", |_| true)?;
        ensure!(shown["phase"] == "running", "not in effect: {shown}");
    }
    let verified = apictl.json(&["audit", "verify"])?;
    ensure!(verified[0]["whole"] == true, "the audit: {verified}");
    let volumes = apictl.list("volumes")?;
    ensure!(volumes.iter().all(|volume| volume["value"]["phase"] == "mounted"), "its volumes: {volumes:?}");
    Ok(())
}
