//! The module controller against an imitated machine.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use reconcile::{Next, Store, run_cycle};
use sys::module::{Error, Loaded};

use super::host::Host;
use super::module::Module;
use crate::events::Events;
use crate::resources::coldplug::{Coldplug, Stage};
use crate::resources::condition::Condition;
use crate::resources::event::Event;
use crate::resources::system_disk::{State, SystemDisk};
use crate::uevent::Listener;

/// What the imitated kernel was asked to load; one test uses it.
static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn load(path: &Path) -> Result<Loaded, Error> {
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
        guids: String::new(),
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
         kernel/drivers/block/disk.ko:\nkernel/drivers/net/broken.ko:\nkernel/drivers/ata/other.ko: kernel/lib/phy.ko\n",
    );
    let alias = "alias pci:rest* rest\nalias pci:nic* nic\nalias pci:disk* disk\nalias pci:broken* broken\n\
                 alias pci:other* other\n";
    write(&modules.join("modules.alias"), alias);
    write(&dir.path().join("proc/modules"), "early 4096 0 - Live 0x0\n");

    let store = Store::new();
    let events = Events::open(&store, dir.path().join("events")).unwrap();
    let conditions = store.shared_writer::<Condition>("test").unwrap();
    let host = Host { sys, proc: dir.path().join("proc"), load, uptime_ms: || 1 };
    let mut module = Module::new(host, modules, Listener::silent(), events);
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

    conditions.put(Condition::API, Condition::met("the API answers")).unwrap();
    assert_eq!(run_cycle(&mut module, &store).await, Ok(Next::OnChange));
    assert_eq!(ASKED.lock().unwrap()[4..], ["phy.ko", "other.ko", "rest.ko"]);
    assert_eq!(store.get::<Coldplug>(Coldplug::ID).unwrap().value.stage, Stage::All);
    assert!(store.get::<crate::resources::kernel_module::KernelModule>("early").is_some());
}
