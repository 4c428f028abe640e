//! The clock's battery is empty: it says 1970. The machine starts at the time its image was built; one that is configured
//! starts where it was, and lets in whom it knows. A clock that is years ahead lets nobody in, and that is said.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use tests::{
    artifacts, machine,
    nocloud::{self, Files},
    operator::wait_blessed,
    runner::Story,
    scratch::Scratch,
    vm::{self, BOOT, Bus, Disk, Spec, Vm},
};

use crate::damage;

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("a_clock_in_1970_is_set_to_when_the_image_was_built", story),
        Story::new("a_configured_machine_whose_clock_is_wrong_by_years_lets_in_or_says_why", configured),
    ]
}

/// A disk for a machine and its configuration, in MiB.
const DISK: u64 = 4096;

fn configured() -> Result<()> {
    let (folder, image) = (Scratch::new()?, artifacts::test_image());
    let raw = folder.path().join("disk.raw");
    damage::copy(&image.raw()?, &raw, |_| Ok((0, Vec::new())))?;
    damage::write(&raw, (DISK << 20) - 1, &[0])?;
    let mut spec = Spec::roomy_kernel(&image)?;
    spec.port = vm::free_port()?;
    let (workstation, user_data) = nocloud::user_data(folder.path(), (Ipv4Addr::LOCALHOST, spec.port).into())?;
    let files = Files { user_data: user_data.as_bytes(), meta_data: "instance-id: i\n", network_config: "" };
    let seed = nocloud::disk(folder.path(), "seed", "iso9660", files)?;
    spec.disks = vec![Disk { writable: true, ..Disk::of(&raw) }, Disk { bus: Bus::Optical, ..Disk::of(&seed) }];
    let boot = |rtc: &str| Vm::start(&Spec { rtc: rtc.into(), ..spec.clone() });
    for rtc in ["utc", "2001-01-01"] {
        let mut machine = boot(rtc)?;
        wait_blessed(&workstation, 1)?;
        workstation.ok(&["shutdown", "--no-wait"])?;
        // Then its disk is the next one's.
        machine.wait_off(BOOT)?;
    }
    let machine = boot("2034-01-01")?;
    machine.wait_line("stele: started 2034-01-01 00:00 UTC, by a clock that no time server has set", BOOT)?;
    machine.wait_line("stele: config state: used revision 1", BOOT)?;
    machine.wait_line("stele: phase running", BOOT)?;
    // It has signed its own certificate anew since, an hour back.
    let refused = workstation.run(&["version"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let told = said.contains("clock") && said.contains("2033-12-31 23:00 UTC");
    ensure!(!refused.status.success() && told, "{}: {said}: {}", refused.status, machine.console.tail(40));
    Ok(())
}

fn story() -> Result<()> {
    let spec = Spec { rtc: "1970-01-01T00:00:10".into(), ..Spec::kernel(&artifacts::test_image()) };
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        // RFC 3339 in UTC sorts as text.
        let version = machine.apictl.json(&["version"])?;
        let built = find(&version, "built").with_context(|| format!("no build time: {version}"))?;
        let line: serde_json::Value =
            serde_json::from_str(&machine.apictl.ok(&["logs", "machined", "--tail", "1", "--output", "json"])?)?;
        let now = line["time"].as_str().unwrap_or_default().to_owned();
        ensure!(now.as_str() >= built.as_str(), "the machine's clock says {now}, its image was built at {built}");
        Ok(())
    })
}

/// The first text of that name, however deep.
fn find(value: &serde_json::Value, name: &str) -> Option<String> {
    match value {
        serde_json::Value::Object(fields) => match fields.get(name) {
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            _ => fields.values().find_map(|value| find(value, name)),
        },
        serde_json::Value::Array(all) => all.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}
