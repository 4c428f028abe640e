//! META says that the machine is configured, and its disk has no STATE. It lets no stranger in, says why on its console, stays
//! alive, and can be rebooted at its keyboard; then it says the same again.

use anyhow::{Context, Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts,
    chaos::Chaos,
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Disk, Spec, Vm},
};

use crate::damage;

/// How the reason begins (machined/src/maintenance.rs).
const REASON: &str = "this machine is configured, and its configuration cannot be read";

/// Where machined's record lies in META (installer/boot/src/meta.rs).
const MACHINED: usize = 0xc000;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_configured_machine_lets_no_stranger_in_and_says_why", story)]
}

fn story() -> Result<()> {
    let image = artifacts::test_image();
    let folder = Scratch::new()?;
    let raw = folder.path().join("configured.raw");
    damage::copy(&image.raw()?, &raw, |start| {
        Ok((meta(start)? + MACHINED, record(br#"{"version":1,"configured":true}"#)?))
    })?;
    let mut spec = Spec::kernel(&image);
    spec.disks = vec![Disk::of(&raw)];
    let vm = Vm::start(&spec)?;
    let mut mark = 0;
    for boot in ["first", "second"] {
        vm.wait_line_after(&format!("stele: error: api: {REASON}"), mark, BOOT)?;
        vm.wait_line_after(&format!("stele: waiting for the API's own answer: {REASON}"), mark, BOOT)?;
        let said = Apictl::insecure(&vm).run(&["version"])?;
        ensure!(
            !said.status.success(),
            "it let a stranger in on its {boot} boot: {}",
            String::from_utf8_lossy(&said.stdout)
        );
        // The gateway is no crash loop: there is nothing more it could do.
        let mut chaos = Chaos::of(&vm)?;
        let gateway = chaos.call("kmsg gateway is ready")?;
        ensure!(gateway.len() == 1, "the gateway on the {boot} boot: {gateway:?}");
        // Its own record in META still says so.
        if boot == "first" {
            mark = vm.console.len();
            vm.qmp.ctrl_alt_del()?;
            vm.wait_line_after("stele: stopping: Ctrl-Alt-Del", mark, BOOT)?;
            vm.wait_line_after("stele: init started", mark, BOOT)?;
        }
    }
    Ok(())
}

/// The first byte of the partition META, from the disk's table (UEFI specification, 5.3).
fn meta(start: &[u8]) -> Result<usize> {
    const SECTOR: usize = 512;
    const ENTRY: usize = 128;
    let name: Vec<u8> = "META\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut entries = start.get(2 * SECTOR..).context("no table")?.chunks(ENTRY).take(128);
    let entry = entries.find(|entry| entry.get(56..).is_some_and(|text| text.starts_with(&name)));
    let first = entry.and_then(|entry| entry.get(32..40)).context("no partition META on the disk")?;
    Ok(usize::try_from(u64::from_le_bytes(first.try_into()?))? * SECTOR)
}

/// A record of machined's with this payload (installer/boot/src/record.rs).
fn record(payload: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = b"STELEmad".to_vec();
    bytes.extend([1, 0, 0, 0]);
    bytes.extend(u32::try_from(payload.len())?.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    let crc = damage::crc(&[&bytes, payload].concat());
    bytes.extend(crc.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    Ok(bytes)
}
