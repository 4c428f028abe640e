//! The module controller against an imitated machine.

use std::fs;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use reconcile::{Controller, Next, Store, run_cycle};
use sys::module::{Error, Loaded};

use super::host::Host;
use super::module::Module;
use crate::events::Events;
use crate::resources::coldplug::{Coldplug, Stage};
use crate::resources::condition::Condition;
use crate::resources::event::Event;
use crate::resources::system_disk::{Guids, State, SystemDisk};
use crate::resources::wait::Wait;
use crate::state;
use crate::uevent::Listener;

/// What the imitated kernel was asked to load; one test uses it.
static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn load(path: &Path, _: &str) -> Result<Loaded, Error> {
    ASKED.lock().unwrap().push(path.file_name().unwrap().to_str().unwrap().into());
    match path.file_name().and_then(|name| name.to_str()) {
        Some("broken.ko") => Err(Error::Refused(path.into(), std::io::Error::from_raw_os_error(8))),
        _ => Ok(Loaded::Now),
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn found() -> SystemDisk {
    SystemDisk {
        state: State::Found,
        disk: "vda".into(),
        meta: "vda2".into(),
        reason: String::new(),
        candidates: Vec::new(),
        guids: Guids::Unknown,
        complete: false,
        settled: false,
    }
}

#[tokio::test]
async fn loads_what_the_api_needs_then_waits_for_it_then_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (sys, modules) = (dir.path().join("sys"), dir.path().join("modules"));
    let devices = sys.join("bus/pci/devices");
    for (device, modalias) in [("a", "pci:rest"), ("b", "pci:nic"), ("c", "pci:disk"), ("d", "pci:broken")] {
        write(&devices.join(device).join("modalias"), modalias);
    }
    write(
        &modules.join("modules.dep"),
        "kernel/misc/rest.ko:\nkernel/drivers/net/nic.ko: kernel/lib/phy.ko\nkernel/lib/phy.ko:\n\
         kernel/drivers/block/disk.ko:\nkernel/drivers/net/broken.ko:\nkernel/drivers/ata/other.ko: kernel/lib/phy.ko\n\
         kernel/fs/ext4/ext4.ko:\n",
    );
    let alias = "alias pci:rest* rest\nalias pci:nic* nic\nalias pci:disk* disk\nalias pci:broken* broken\n\
                 alias pci:other* other\n";
    write(&modules.join("modules.alias"), alias);
    write(&dir.path().join("proc/modules"), "early 4096 0 - Live 0x0\n");

    let store = Store::new();
    let events = Events::open(&store, dir.path().join("events")).unwrap();
    let conditions = store.shared_writer::<Condition>("test").unwrap();
    let host = Host { sys, proc: dir.path().join("proc"), load, uptime_ms: || 1, limit: super::loader::LIMIT };
    let state = state::Handle::new();
    let mut module = Module::new(host, modules, Listener::silent(), events, &state);
    let waits = run_cycle(&mut module, &store).await.unwrap();
    assert!(matches!(waits, Next::After(_)), "{waits:?}");
    assert_eq!(*ASKED.lock().unwrap(), ["broken.ko", "phy.ko", "nic.ko", "disk.ko"]);
    let failed = &store.get::<Coldplug>(Coldplug::ID).unwrap().value.failed;
    assert!(failed.len() == 1 && failed[0].starts_with("broken: "), "{failed:?}");
    assert!(store.list::<Event>().iter().any(|event| event.value.message.contains("broken")));

    // The machine's own disk is known: the driver of another one waits like the rest.
    store.writer::<SystemDisk>("test").unwrap().put(SystemDisk::ID, found());
    write(&devices.join("e/modalias"), "pci:other");
    module.forget_walk();
    run_cycle(&mut module, &store).await.unwrap();
    assert_eq!(ASKED.lock().unwrap().last().unwrap(), "disk.ko");
    assert_eq!(store.get::<Coldplug>(Coldplug::ID).unwrap().value.stage, Stage::Network);

    // Unless what is on it is to be written to; and somebody asks for a file system, for which no device asks.
    state.need_disks();
    state.need("ext4");
    run_cycle(&mut module, &store).await.unwrap();
    assert_eq!(ASKED.lock().unwrap()[4..], ["ext4.ko", "phy.ko", "other.ko"]);
    assert_eq!(store.get::<Coldplug>(Coldplug::ID).unwrap().value.stage, Stage::Storage);

    conditions.put(Condition::API, Condition::met("the API answers")).unwrap();
    assert_eq!(run_cycle(&mut module, &store).await, Ok(Next::OnChange));
    assert_eq!(ASKED.lock().unwrap()[7..], ["rest.ko"]);
    assert_eq!(store.get::<Coldplug>(Coldplug::ID).unwrap().value.stage, Stage::All);
    assert!(store.get::<crate::resources::kernel_module::KernelModule>("early").is_some());
}

/// What was loaded where the driver `stuck` hangs until the flag is up; one test uses it.
static TRIED: Mutex<Vec<String>> = Mutex::new(Vec::new());
static RETURN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

fn load_stuck(path: &Path, _: &str) -> Result<Loaded, Error> {
    let name = path.file_name().unwrap().to_str().unwrap();
    TRIED.lock().unwrap().push(name.into());
    if name == "stuck.ko" {
        let within = Duration::from_secs(60);
        drop(RETURN.1.wait_timeout_while(RETURN.0.lock().unwrap(), within, |back| !*back).unwrap());
    }
    Ok(Loaded::Now)
}

#[tokio::test]
async fn a_driver_that_hangs_keeps_no_other_from_being_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let (sys, modules) = (dir.path().join("sys"), dir.path().join("modules"));
    let devices = sys.join("bus/pci/devices");
    for (device, modalias) in [("a", "pci:stuck"), ("b", "pci:child"), ("c", "pci:disk")] {
        write(&devices.join(device).join("modalias"), modalias);
    }
    let dep = "kernel/drivers/net/stuck.ko:\nkernel/drivers/net/child.ko: kernel/drivers/net/stuck.ko\n\
               kernel/drivers/block/disk.ko:\n";
    write(&modules.join("modules.dep"), dep);
    write(&modules.join("modules.alias"), "alias pci:stuck* stuck\nalias pci:child* child\nalias pci:disk* disk\n");

    let store = Store::new();
    let events = Events::open(&store, dir.path().join("events")).unwrap();
    store.shared_writer::<Condition>("test").unwrap().put(Condition::API, Condition::met("")).unwrap();
    let limit = Duration::from_millis(50);
    let host = Host { sys, proc: dir.path().join("proc"), load: load_stuck, uptime_ms: || 1, limit };
    write(&host.proc.join("modules"), "");
    let mut module = Module::new(host.clone(), modules, Listener::silent(), events, &state::Handle::new());
    run_cycle(&mut module, &store).await.unwrap();
    // As the kernel shows it meanwhile.
    write(&host.proc.join("modules"), "stuck 4096 1 - Loading 0x0\n");
    assert_eq!(*TRIED.lock().unwrap(), ["stuck.ko", "disk.ko"]);
    let coldplug = store.get::<Coldplug>(Coldplug::ID).unwrap().value;
    assert_eq!((coldplug.stage, coldplug.failed.len()), (Stage::All, 2), "{coldplug:?}");
    assert!(coldplug.failed[0].starts_with("child: stuck, which it needs: its driver hangs"), "{coldplug:?}");
    assert!(store.get::<Wait>("driver-stuck").unwrap().value.reason.contains("hangs"));
    assert!(store.list::<Event>().iter().any(|event| event.value.message.contains("stuck was not loaded")));
    module.forget_walk();
    run_cycle(&mut module, &store).await.unwrap();
    assert_eq!(TRIED.lock().unwrap().len(), 2, "loaded again while it hangs");

    *RETURN.0.lock().unwrap() = true;
    RETURN.1.notify_all();
    tokio::time::timeout(Duration::from_secs(30), module.wake()).await.unwrap();
    write(&host.proc.join("modules"), "stuck 4096 0 - Live 0x0\n");
    run_cycle(&mut module, &store).await.unwrap();
    assert_eq!(TRIED.lock().unwrap()[2..], ["child.ko"]);
    assert!(store.get::<Coldplug>(Coldplug::ID).unwrap().value.failed.is_empty());
    assert!(store.list::<Wait>().is_empty());
}
