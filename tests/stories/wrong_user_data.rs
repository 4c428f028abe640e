//! User-data that is there and wrong never opens maintenance: the machine says on its console which file, where in it, and what to
//! do, and lets nobody in. Disk after disk is plugged into the same machine; pulling one opens nothing; the right one is taken.

use std::{net::Ipv4Addr, path::Path};

use anyhow::{Result, ensure};
use serde_json::json;
use tests::{
    apictl::Apictl,
    artifacts,
    nocloud::{self, Files},
    operator::wait_blessed,
    runner::Story,
    scratch::Scratch,
    vm::{self, BOOT, Spec, Vm},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("user_data_that_is_wrong_never_opens_maintenance", story)]
}

fn story() -> Result<()> {
    let folder = Scratch::new()?;
    let mut spec = Spec::roomy_kernel(&artifacts::test_image())?;
    spec.port = vm::free_port()?;
    let (workstation, right) = nocloud::user_data(folder.path(), (Ipv4Addr::LOCALHOST, spec.port).into())?;
    let of = |user_data: &[u8]| user_data.to_vec();
    let hostname = "apiVersion: stele/v1\nkind: Hostname\nhostname: a\n";
    let unknown = format!("{right}---\napiVersion: stele/v1\nkind: Hostname\nhostnam: a\n");
    let lines = right.lines().count() + 4;
    let wrong: [(&str, Vec<u8>, &str, String); 7] = [
        (
            "cloud-config",
            of(b"#cloud-config\nusers: []\n"),
            "",
            "user-data: it is a #cloud-config (for cloud-init)".into(),
        ),
        ("script", of(b"#!/bin/sh\ntrue\n"), "", "user-data: it is a script, and Stele runs none".into()),
        ("gzip", of(b"\x1f\x8b\x08\x00cut"), "", "user-data: its gzip is damaged or cut".into()),
        ("empty", of(b"\n"), "", "user-data: it is empty".into()),
        ("field", unknown.into_bytes(), "", format!("user-data: line {lines}, column 1:")),
        ("nobody", of(hostname.as_bytes()), "", "user-data: a document of kind Api is missing".into()),
        (
            "network",
            of(right.as_bytes()),
            "version: 2\nbridges: {br0: {}}\n",
            "network-config: line 2, column 1: bridges: Stele has no".into(),
        ),
    ];
    let disk = |name: &str, user_data: &[u8], network_config: &str, format: &str| {
        nocloud::disk(folder.path(), name, format, Files { user_data, network_config, meta_data: "instance-id: i\n" })
    };
    // The first is there from the start, the others come to the same bus.
    let (name, user_data, network, said) = &wrong[0];
    let first = disk(name, user_data, network, "vfat")?;
    spec.extra.extend(["-device", "virtio-scsi-pci,id=scsi0", "-drive"].map(str::to_owned));
    spec.extra.push(format!("if=none,id={name},format=raw,readonly=on,file={}", first.display()));
    spec.extra.extend(["-device".to_owned(), format!("scsi-hd,bus=scsi0.0,id=seed-{name},drive={name}")]);
    let machine = Vm::start(&spec)?;
    machine.wait_line(&format!("stele: config nocloud: wrong: /dev/sda: {said}"), BOOT)?;
    machine.wait_line("Nobody is let in until this is right", BOOT)?;
    closed(&machine)?;
    pull(&machine, name)?;
    machine.wait_line("stele: config nocloud: nothing: no volume is labelled cidata", BOOT)?;
    closed(&machine)?;
    for (name, user_data, network, said) in &wrong[1..] {
        let mark = machine.console.len();
        plug(&machine, name, &disk(name, user_data, network, "iso9660")?)?;
        machine.wait_line_after(said, mark, BOOT)?;
        closed(&machine)?;
        let mark = machine.console.len();
        pull(&machine, name)?;
        machine.wait_line_after("stele: config nocloud: nothing: no volume is labelled cidata", mark, BOOT)?;
        closed(&machine)?;
    }
    plug(&machine, "right", &disk("right", right.as_bytes(), "", "vfat")?)?;
    machine.wait_line("stele: config nocloud: used /dev/sd", BOOT)?;
    wait_blessed(&workstation, 1)?;
    ensure!(
        machine.console.count("stele: phase maintenance") == 0,
        "it opened maintenance: {}",
        machine.console.tail(60)
    );
    Ok(())
}

/// Nobody is let in.
fn closed(machine: &Vm) -> Result<()> {
    let asked = Apictl::insecure(machine).run(&["version"])?;
    ensure!(!asked.status.success(), "a stranger was let in: {}", machine.console.tail(40));
    Ok(())
}

fn plug(machine: &Vm, name: &str, image: &Path) -> Result<()> {
    let file = json!({"driver": "file", "filename": image, "read-only": true});
    machine
        .qmp
        .execute("blockdev-add", json!({"node-name": name, "driver": "raw", "read-only": true, "file": file}))?;
    let device = json!({"driver": "scsi-hd", "bus": "scsi0.0", "id": format!("seed-{name}"), "drive": name});
    machine.qmp.execute("device_add", device).map(drop)
}

fn pull(machine: &Vm, name: &str) -> Result<()> {
    machine.qmp.execute("device_del", json!({"id": format!("seed-{name}")})).map(drop)
}
