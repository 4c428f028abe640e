//! The disk controllers against an imitated machine: /sys and /dev are folders, disks are files.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use boot::meta::{BLOCK, Header};
use reconcile::{Next, Store, run_cycle};

use super::host::Host;
use super::inventory::Inventory;
use super::link::Link;
use super::system::{System, file};
use super::table::tests::disk as image;
use crate::efi::LOADER;
use crate::events::Events;
use crate::meta;
use crate::resources::coldplug::{Coldplug, Stage};
use crate::resources::condition::Condition;
use crate::resources::disk::Disk;
use crate::resources::partition::Partition;
use crate::resources::system_disk::{Guids, State, SystemDisk};
use crate::uevent::Listener;

const BOOT: &str = "11111111-1111-4111-8111-111111111111";
/// GUID of the first partition of the test image.
const ESP: &str = "01010101-0101-0101-0101-010101010101";

struct Machine {
    dir: tempfile::TempDir,
    host: Host,
    store: Store,
    events: Events,
    meta: meta::Handle,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Host { sys: dir.path().join("sys"), dev: dir.path().join("dev") };
        let store = Store::new();
        let events = Events::open(&store, dir.path().join("events")).unwrap();
        fs::create_dir_all(&host.dev).unwrap();
        fs::create_dir_all(host.sys.join("block")).unwrap();
        Self { dir, host, store, events, meta: meta::Handle::new(BOOT) }
    }

    fn attribute(&self, path: &str, value: &str) {
        let path = self.host.sys.join("block").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value).unwrap();
    }

    /// Plugs in a disk with the image's table; the partitions are files of their own.
    fn plug(&self, name: &str, sequence: u64, guid: [u8; 16]) -> PathBuf {
        let bytes = image(512, 8192, guid);
        let node = self.host.dev.join(name);
        fs::write(&node, &bytes).unwrap();
        self.attribute(&format!("{name}/size"), "8192");
        self.attribute(&format!("{name}/diskseq"), &sequence.to_string());
        self.attribute(&format!("{name}/serial"), &format!("serial-{name}\n"));
        self.attribute(&format!("{name}/queue/logical_block_size"), "512");
        for (number, start) in [(1, 2048), (2, 2304)] {
            let part = format!("{name}/{name}{number}");
            self.attribute(&format!("{part}/partition"), &number.to_string());
            self.attribute(&format!("{part}/start"), &start.to_string());
            self.attribute(&format!("{part}/size"), "256");
            fs::write(self.host.dev.join(format!("{name}{number}")), vec![0; 256 * 512]).unwrap();
        }
        let meta = fs::File::options().write(true).open(self.host.dev.join(format!("{name}2"))).unwrap();
        meta.set_len(boot::meta::SIZE).unwrap();
        meta.write_all_at(&Header::new(boot::Guid(guid)).encode(), 0).unwrap();
        meta.write_all_at(&Header::new(boot::Guid(guid)).encode(), BLOCK as u64).unwrap();
        node
    }

    fn unplug(&self, name: &str) {
        fs::remove_dir_all(self.host.sys.join("block").join(name)).unwrap();
    }

    fn booted_from(&self, guid: &str) {
        let dir = self.host.sys.join("firmware/efi/efivars");
        fs::create_dir_all(&dir).unwrap();
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(guid.to_uppercase().encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        fs::write(dir.join(format!("StubDevicePartUUID-{LOADER}")), bytes).unwrap();
    }

    fn inventory(&self) -> Inventory {
        Inventory::new(self.host.clone(), Listener::silent(), self.events.clone())
    }

    fn system(&self) -> System {
        System::new(self.host.clone(), file(self.dir.path()), self.meta.clone(), self.events.clone())
    }

    fn status(&self) -> SystemDisk {
        SystemDisk::clone(&self.store.get(SystemDisk::ID).unwrap().value)
    }
}

#[tokio::test]
async fn lists_disks_and_names_them_and_forgets_them() {
    let machine = Machine::new();
    machine.plug("vda", 1, [9; 16]);
    let (mut inventory, mut link) = (machine.inventory(), Link::new(&machine.host.dev));
    run_cycle(&mut inventory, &machine.store).await.unwrap();
    run_cycle(&mut link, &machine.store).await.unwrap();
    let disk = machine.store.get::<Disk>("vda").unwrap().value;
    assert_eq!((disk.size, &*disk.table, &*disk.transport, &*disk.error), (8192 * 512, "gpt", "virtio", ""));
    let part = machine.store.get::<Partition>("vda2").unwrap().value;
    assert_eq!((&*part.label, &*part.content.as_ref().unwrap().format, part.start), ("META", "meta", 2304 * 512));
    let links = machine.host.dev.join("disk");
    for link in
        ["by-id/virtio-serial-vda-part2", "by-partlabel/META", "by-partuuid/02020202-0202-0202-0202-020202020202"]
    {
        assert!(fs::read_link(links.join(link)).unwrap().ends_with("vda2"), "{link}");
    }
    machine.unplug("vda");
    run_cycle(&mut inventory, &machine.store).await.unwrap();
    run_cycle(&mut link, &machine.store).await.unwrap();
    assert!(machine.store.list::<Disk>().is_empty() && machine.store.list::<Partition>().is_empty());
    assert_eq!(fs::read_dir(links.join("by-id")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_is_listed_with_the_reason() {
    let machine = Machine::new();
    machine.plug("vda", 1, [9; 16]);
    fs::remove_file(machine.host.dev.join("vda")).unwrap();
    fs::write(machine.host.dev.join("vda1"), "short").unwrap();
    run_cycle(&mut machine.inventory(), &machine.store).await.unwrap();
    assert!(machine.store.get::<Disk>("vda").unwrap().value.error.contains("cannot open it"));
    assert!(machine.store.get::<Partition>("vda1").unwrap().value.error.contains("cannot read it"));
    assert_eq!(machine.store.get::<Partition>("vda2").unwrap().value.error, "");
}

#[tokio::test]
async fn finds_the_disk_it_booted_from_and_attaches_meta() {
    let machine = Machine::new();
    let coldplug = machine.store.writer::<Coldplug>("test").unwrap();
    machine.booted_from(ESP);
    let (mut inventory, mut system) = (machine.inventory(), machine.system());
    run_cycle(&mut system, &machine.store).await.unwrap();
    assert_eq!(machine.status().state, State::Waiting);
    assert!(!machine.store.get::<Condition>("system-disk").unwrap().value.met);

    let node = machine.plug("vda", 1, [9; 16]);
    let before = fs::read(&node).unwrap();
    run_cycle(&mut system, &machine.store).await.unwrap();
    assert_eq!(machine.status().state, State::Waiting, "the inventory has not listed the disk yet");
    run_cycle(&mut inventory, &machine.store).await.unwrap();
    run_cycle(&mut system, &machine.store).await.unwrap();
    assert_eq!(machine.status().state, State::Found);
    assert!(matches!(machine.meta.state(), meta::State::Read { .. }), "a disk of another driver may fit as well");
    assert_eq!(fs::read(&node).unwrap(), before);

    coldplug.put(Coldplug::ID, Coldplug { stage: Stage::Storage, ..Coldplug::default() });
    run_cycle(&mut system, &machine.store).await.unwrap();
    let status = machine.status();
    assert_eq!(
        (status.state, &*status.disk, &*status.meta, status.guids),
        (State::Found, "vda", "vda2", Guids::Shared)
    );
    assert!(matches!(machine.meta.state(), meta::State::Attached { .. }));

    machine.plug("vdb", 2, [9; 16]);
    run_cycle(&mut inventory, &machine.store).await.unwrap();
    run_cycle(&mut system, &machine.store).await.unwrap();
    assert_eq!(
        (machine.status().state, machine.status().candidates),
        (State::Ambiguous, vec!["vda".into(), "vdb".into()])
    );
    assert!(matches!(machine.meta.state(), meta::State::Absent(why) if why.contains("vda and vdb")));
    assert!(!machine.store.get::<Condition>("system-disk").unwrap().value.met);
}

#[tokio::test]
async fn nothing_is_written_while_drivers_of_disks_are_loaded_however_late_it_is() {
    for firmware in [true, false] {
        let machine = Machine::new();
        let coldplug = machine.store.writer::<Coldplug>("test").unwrap();
        coldplug.put(Coldplug::ID, Coldplug { stage: Stage::Network, ..Coldplug::default() });
        if firmware {
            machine.booted_from(ESP);
        }
        machine.plug("vda", 1, [9; 16]);
        let meta = machine.host.dev.join("vda2");
        let before = fs::read(&meta).unwrap();
        let (mut inventory, mut system) = (machine.inventory(), machine.system());
        run_cycle(&mut inventory, &machine.store).await.unwrap();
        system.age(std::time::Duration::from_secs(60));
        let next = run_cycle(&mut system, &machine.store).await.unwrap();
        assert_eq!(machine.status().state, if firmware { State::Found } else { State::Waiting });
        assert!(!matches!(machine.meta.state(), meta::State::Attached { .. }));
        assert!(firmware || next == Next::OnChange, "it polls: {next:?}");
        assert_eq!(fs::read(&meta).unwrap(), before);

        // The drivers are there now, and the inventory lags behind.
        machine.plug("vdb", 2, [8; 16]);
        coldplug.put(Coldplug::ID, Coldplug { stage: Stage::Storage, ..Coldplug::default() });
        run_cycle(&mut system, &machine.store).await.unwrap();
        assert!(matches!(machine.meta.state(), meta::State::Attached { .. }));
    }
}

#[tokio::test]
async fn a_choice_that_stood_is_committed_and_its_guids_become_its_own() {
    let machine = Machine::new();
    let coldplug = machine.store.writer::<Coldplug>("test").unwrap();
    machine.booted_from(ESP);
    let node = machine.plug("vda", 1, [9; 16]);
    coldplug.put(Coldplug::ID, Coldplug { stage: Stage::All, ..Coldplug::default() });
    let (mut inventory, mut system) = (machine.inventory(), machine.system());
    run_cycle(&mut inventory, &machine.store).await.unwrap();
    run_cycle(&mut system, &machine.store).await.unwrap();
    assert_eq!(machine.status().guids, Guids::Shared);
    system.age(std::time::Duration::from_secs(5));
    run_cycle(&mut system, &machine.store).await.unwrap();
    assert_eq!(machine.status().guids, Guids::Unique);
    let changed = fs::read(&node).unwrap();
    assert_ne!(changed[512 + 56..512 + 72], [9; 16]);

    // A copy that is plugged in later changes nothing, for this machined and for the next.
    machine.plug("vdb", 2, [9; 16]);
    run_cycle(&mut inventory, &machine.store).await.unwrap();
    run_cycle(&mut system, &machine.store).await.unwrap();
    assert_eq!((machine.status().state, &*machine.status().disk), (State::Found, "vda"));
    run_cycle(&mut machine.system(), &machine.store).await.unwrap();
    assert_eq!((machine.status().state, &*machine.status().disk), (State::Found, "vda"));
    assert_eq!(fs::read(&node).unwrap(), changed);
}

#[tokio::test]
async fn without_disks_it_says_so_at_once() {
    let machine = Machine::new();
    let coldplug = machine.store.writer::<Coldplug>("test").unwrap();
    coldplug.put(Coldplug::ID, Coldplug { stage: Stage::Storage, ..Coldplug::default() });
    run_cycle(&mut machine.system(), &machine.store).await.unwrap();
    assert_eq!(machine.status().state, State::None);
    assert!(machine.store.get::<Condition>("system-disk").unwrap().value.met);
    assert!(matches!(machine.meta.state(), meta::State::Absent(_)));
    assert!(Path::new(&machine.host.sys).exists());
}

#[tokio::test]
async fn it_is_tried_again_in_a_minute_or_never_and_not_twice_a_second() {
    for has_meta in [false, true] {
        let machine = Machine::new();
        let coldplug = machine.store.writer::<Coldplug>("test").unwrap();
        coldplug.put(Coldplug::ID, Coldplug { stage: Stage::All, ..Coldplug::default() });
        machine.booted_from(ESP);
        let node = machine.plug("vda", 1, [9; 16]);
        if !has_meta {
            machine.unplug("vda/vda2");
        }
        let (mut inventory, mut system) = (machine.inventory(), machine.system());
        run_cycle(&mut inventory, &machine.store).await.unwrap();
        run_cycle(&mut system, &machine.store).await.unwrap();
        system.age(std::time::Duration::from_secs(60));
        fs::remove_file(node).unwrap();
        let next = run_cycle(&mut system, &machine.store).await.unwrap();
        let (state, guids) = (machine.status().state, machine.status().guids);
        if has_meta {
            assert_eq!((state, guids), (State::Found, Guids::Shared));
            assert!(matches!(next, Next::After(time) if time.as_secs() == 60), "{next:?}");
        } else {
            assert_eq!((state, guids, next), (State::Found, Guids::Unknown, Next::OnChange));
        }
    }
}

#[tokio::test]
async fn a_meta_that_cannot_be_read_is_an_unmet_condition_with_the_remedy() {
    for header in [true, false] {
        let machine = Machine::new();
        let coldplug = machine.store.writer::<Coldplug>("test").unwrap();
        coldplug.put(Coldplug::ID, Coldplug { stage: Stage::All, ..Coldplug::default() });
        machine.booted_from(ESP);
        machine.plug("vda", 1, [9; 16]);
        let meta = fs::File::options().write(true).open(machine.host.dev.join("vda2")).unwrap();
        if header {
            for copy in [boot::meta::MACHINED.a, boot::meta::MACHINED.b] {
                meta.write_all_at(b"not a record", copy.offset).unwrap();
            }
        } else {
            meta.write_all_at(&[0; 2 * BLOCK], 0).unwrap();
        }
        let (mut inventory, mut system) = (machine.inventory(), machine.system());
        run_cycle(&mut inventory, &machine.store).await.unwrap();
        run_cycle(&mut system, &machine.store).await.unwrap();
        let condition = machine.store.get::<Condition>("system-disk").unwrap().value;
        assert!(!condition.met && condition.reason.contains("install anew"), "{condition:?}");
        assert!(matches!(machine.meta.state(), meta::State::Unusable(_)));
        let told = machine.store.list::<crate::resources::Event>();
        assert!(told.iter().any(|event| event.value.message.contains("install anew")), "{told:?}");
    }
}
