//! One imitated machine with one disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reconcile::{Store, Writer, run_cycle};
use sys::link::ExitStatus;
use sys::mount::Flags;
use sys::partition::Place;

use super::super::super::host::Host;
use super::super::super::table::tests::disk as image;
use super::super::{Around, Places, Powers, Volumes};
use crate::events::Events;
use crate::program::{self, Ended};
use crate::resources::condition::Condition;
use crate::resources::disk::Disk;
use crate::resources::system_disk::{Guids, State, SystemDisk};
use crate::resources::volume::Volume;
use crate::{generations, meta, state, stop};

pub(super) const MIB: u64 = 1 << 20;
const BOOT: &str = "11111111-1111-4111-8111-111111111111";

pub(super) struct Machine {
    pub(super) store: Store,
    pub(super) handle: state::Handle,
    pub(super) meta: meta::Handle,
    pub(super) powers: Fake,
    pub(super) stop: stop::Handle,
    events: Events,
    system: Writer<SystemDisk>,
    disk: Writer<Disk>,
    dir: Arc<tempfile::TempDir>,
    sector: u64,
}

impl Machine {
    /// A configured-to-be machine whose disk is larger than the image written to it.
    pub(super) async fn new(sector: u64, mib: u64) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let (sys, dev) = (dir.path().join("sys"), dir.path().join("dev"));
        fs::create_dir_all(&dev).unwrap();
        fs::create_dir_all(sys.join("block/vda/queue")).unwrap();
        fs::write(sys.join("block/vda/queue/logical_block_size"), sector.to_string()).unwrap();
        fs::write(dev.join("vda"), image(sector, 4096, [9; 16])).unwrap();
        let store = Store::new();
        let (system, disk) = (store.writer("test").unwrap(), store.writer("test").unwrap());
        let events = Events::open(&store, dir.path().join("events")).unwrap();
        let meta = meta::Handle::new(BOOT);
        meta.attach(&meta::tests::fresh(dir.path())).await.unwrap();
        let powers = Fake { dir: dir.clone(), sector, inner: Arc::default() };
        let (handle, stop) = (state::Handle::new(), stop::Handle::new());
        let machine = Self { store, handle, meta, powers, stop, events, system, disk, dir, sector };
        machine.resize(mib);
        machine.system.put(
            SystemDisk::ID,
            SystemDisk {
                state: State::Found,
                disk: "vda".into(),
                meta: "vda2".into(),
                reason: String::new(),
                candidates: Vec::new(),
                guids: Guids::Unique,
                complete: true,
                settled: true,
            },
        );
        machine
    }

    /// The disk gets another size.
    pub(super) fn resize(&self, mib: u64) {
        let file = fs::File::options().write(true).open(self.dir.path().join("dev/vda")).unwrap();
        file.set_len(mib * MIB).unwrap();
        fs::write(self.dir.path().join("sys/block/vda/size"), (mib * MIB / 512).to_string()).unwrap();
        self.disk.put("vda", Disk { size: mib * MIB, ..Disk::default() });
    }

    /// Changes what is known of the system disk.
    pub(super) fn system(&self, change: impl FnOnce(&mut SystemDisk)) {
        let mut now = SystemDisk::clone(&self.store.get::<SystemDisk>(SystemDisk::ID).unwrap().value);
        change(&mut now);
        self.system.put(SystemDisk::ID, now);
    }

    /// A machined after the power was off: nothing is mounted, the kernel has read the table.
    pub(super) fn boot(&self) -> Volumes<Fake> {
        self.powers.power_cycle();
        self.restart()
    }

    /// The next machined of the same boot.
    pub(super) fn restart(&self) -> Volumes<Fake> {
        let host = Host { sys: self.dir.path().join("sys"), dev: self.dir.path().join("dev") };
        let places = Places { state: self.root(), var: self.dir.path().join("var") };
        let around = Around {
            meta: self.meta.clone(),
            handle: self.handle.clone(),
            events: self.events.clone(),
            generations: generations::Handle::new(self.meta.clone()),
            stop: self.stop.clone(),
        };
        Volumes::new(host, self.powers.clone(), places, around)
    }

    /// Runs a cycle while somebody wishes for STATE.
    pub(super) async fn wish(&self, volumes: &mut Volumes<Fake>) -> Result<PathBuf, state::Error> {
        let handle = self.handle.clone();
        let (made, cycle) = tokio::join!(handle.make(), async {
            tokio::task::yield_now().await;
            run_cycle(volumes, &self.store).await
        });
        cycle.unwrap();
        made
    }

    pub(super) async fn configured(&self) {
        self.meta.update(|record| record.configured = true).await.unwrap();
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(super) fn node(&self, number: u32) -> String {
        self.dir.path().join(format!("dev/vda{number}")).to_string_lossy().into_owned()
    }

    pub(super) fn volume(&self, name: &str) -> Volume {
        Volume::clone(&self.store.get::<Volume>(name).unwrap().value)
    }

    pub(super) fn condition(&self, name: &str) -> Condition {
        Condition::clone(&self.store.get::<Condition>(name).unwrap().value)
    }

    /// The table as another implementation reads it.
    pub(super) fn table(&self) -> gptman::GPT {
        self.powers.table()
    }

    /// The first MiB.
    pub(super) fn start_of_disk(&self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        self.powers.file().read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Writes into a partition behind everybody's back.
    pub(super) fn write(&self, number: u32, at: u64, bytes: &[u8]) {
        let start = self.table()[number].starting_lba * self.sector;
        self.powers.file().write_all_at(bytes, start + at).unwrap();
    }

    /// The same, to read.
    pub(super) fn read(&self, number: u32, at: u64, len: usize) -> Vec<u8> {
        let start = self.table()[number].starting_lba * self.sector;
        let mut bytes = vec![0; len];
        self.powers.file().read_exact_at(&mut bytes, start + at).unwrap();
        bytes
    }

    /// The disk takes no writes from now on: one with the same table stands in for it. Undone by the value that is returned.
    pub(super) fn read_only(&self) -> impl Drop + use<> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        struct Back(PathBuf, #[expect(dead_code, reason = "the link leads through its number")] fs::File);
        impl Drop for Back {
            fn drop(&mut self) {
                fs::rename(self.0.with_extension("away"), &self.0).unwrap();
            }
        }
        let disk = self.dir.path().join("dev/vda");
        let file = fs::File::from(memfd_create("disk", MemfdFlags::ALLOW_SEALING).unwrap());
        file.set_len(fs::metadata(&disk).unwrap().len()).unwrap();
        file.write_all_at(&self.start_of_disk(), 0).unwrap();
        fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
        fs::rename(&disk, disk.with_extension("away")).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        std::os::unix::fs::symlink(format!("/proc/self/fd/{number}"), &disk).unwrap();
        Back(disk, file)
    }

    /// META is gone, until it is put back.
    pub(super) fn without_meta(&self) -> impl FnOnce() + use<> {
        let path = self.dir.path().join("meta");
        fs::rename(&path, path.with_extension("away")).unwrap();
        move || fs::rename(path.with_extension("away"), path).unwrap()
    }

    /// The folder that stands for the content of a partition's file system.
    pub(super) fn content(&self, number: u32) -> PathBuf {
        self.dir.path().join(format!("content/vda{number}"))
    }
}

/// Imitates programs and the kernel.
#[derive(Clone, Debug)]
pub(super) struct Fake {
    dir: Arc<tempfile::TempDir>,
    sector: u64,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<String>,
    mounted: BTreeMap<PathBuf, String>,
    /// The next call of this name ends with this error or exit code.
    failing: BTreeMap<String, i32>,
    without_modules: bool,
}

impl Fake {
    /// What was called since the last look.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().unwrap().calls)
    }

    /// Whether the kernel has the modules of file systems.
    pub(super) fn modules(&self, there: bool) {
        self.inner.lock().unwrap().without_modules = !there;
    }

    pub(super) fn forget(&self) {
        self.inner.lock().unwrap().calls.clear();
    }

    pub(super) fn fail(&self, call: &str, code: i32) {
        self.inner.lock().unwrap().failing.insert(call.into(), code);
    }

    fn call(&self, call: String) -> Result<(), i32> {
        let mut inner = self.inner.lock().unwrap();
        let failing = inner.failing.remove(&call);
        inner.calls.push(call);
        failing.map_or(Ok(()), Err)
    }

    fn file(&self) -> fs::File {
        fs::File::options().read(true).write(true).open(self.dir.path().join("dev/vda")).unwrap()
    }

    fn table(&self) -> gptman::GPT {
        gptman::GPT::read_from(&mut self.file(), self.sector).unwrap()
    }

    /// Changes the table behind everybody's back.
    pub(super) fn edit(&self, change: impl FnOnce(&mut gptman::GPT)) {
        let mut table = self.table();
        change(&mut table);
        table.write_into(&mut self.file()).unwrap();
    }

    /// The kernel forgets a partition.
    pub(super) fn unplug(&self, number: u32) {
        fs::remove_dir_all(self.dir.path().join(format!("sys/block/vda/vda{number}"))).unwrap();
    }

    fn power_cycle(&self) {
        let mounted = std::mem::take(&mut self.inner.lock().unwrap().mounted);
        for on in mounted.keys() {
            fs::remove_file(on).unwrap();
        }
        for (number, entry) in self.table().iter().filter(|(_, entry)| entry.is_used()) {
            let length = (entry.ending_lba + 1 - entry.starting_lba) * self.sector;
            self.show(Place { number, start: entry.starting_lba * self.sector, length });
        }
        self.forget();
    }

    fn show(&self, place: Place) {
        let at = self.dir.path().join(format!("sys/block/vda/vda{}", place.number));
        fs::create_dir_all(&at).unwrap();
        let attributes =
            [("partition", place.number.into()), ("start", place.start / 512), ("size", place.length / 512)];
        for (name, value) in attributes {
            fs::write(at.join(name), value.to_string()).unwrap();
        }
    }

    /// Writes what a superblock says, or half of what a run that was cut off leaves.
    fn mkfs(&self, device: &str, format: &str, whole: bool) {
        let number: u32 = device.trim_start_matches("vda").parse().unwrap();
        let start = self.table()[number].starting_lba * self.sector;
        let file = self.file();
        if !whole {
            return file.write_all_at(&[0xa5; 4096], start + 8192).unwrap();
        }
        file.write_all_at(&[0; 65536], start).unwrap();
        if format == "ext4" {
            for (at, bytes) in [(56, &[0x53, 0xef, 1, 0][..]), (96, &[0x40, 0, 0, 0]), (120, b"STATE")] {
                file.write_all_at(bytes, start + 1024 + at).unwrap();
            }
        } else {
            file.write_all_at(b"XFSB", start).unwrap();
            file.write_all_at(b"EPHEMERAL", start + 108).unwrap();
        }
        let content = self.dir.path().join("content").join(device);
        let _ = fs::remove_dir_all(&content);
        fs::create_dir_all(content.join("lost+found")).unwrap();
    }
}

impl Powers for Fake {
    async fn run(&self, program: &str, arguments: &[&str], _: Duration) -> Result<Ended, program::Error> {
        let name = program.rsplit('/').next().unwrap();
        let device = arguments.last().unwrap().rsplit('/').next().unwrap().to_owned();
        let how = if name == "e2fsck" { format!(" {}", arguments[0]) } else { String::new() };
        let call = if name == "xfs_growfs" { name.into() } else { format!("{name}{how} {device}") };
        let done = self.call(call);
        match name {
            "mkfs.ext4" => self.mkfs(&device, "ext4", done.is_ok()),
            "mkfs.xfs" => self.mkfs(&device, "xfs", done.is_ok()),
            _ => {}
        }
        let code = done.err().unwrap_or(0);
        Ok(Ended { status: ExitStatus::Exited(code), said: format!("{name}: said this\n") })
    }

    fn mount(&self, _: &str, device: &str, on: &Path, _: Flags, _: &str) -> io::Result<()> {
        let name = device.rsplit('/').next().unwrap();
        self.call(format!("mount {name}")).map_err(io::Error::from_raw_os_error)?;
        std::os::unix::fs::symlink(self.dir.path().join("content").join(name), on)?;
        self.inner.lock().unwrap().mounted.insert(on.into(), device.into());
        Ok(())
    }

    fn unmount(&self, on: &Path) -> io::Result<()> {
        self.inner.lock().unwrap().mounted.remove(on).unwrap();
        fs::remove_file(on)
    }

    fn mounted(&self, on: &Path) -> Option<String> {
        self.inner.lock().unwrap().mounted.get(on).cloned()
    }

    fn knows(&self, _: &str) -> bool {
        !self.inner.lock().unwrap().without_modules
    }

    fn add(&self, _: &Path, place: Place) -> io::Result<()> {
        self.call(format!("add {}", place.number)).map_err(io::Error::from_raw_os_error)?;
        self.show(place);
        Ok(())
    }

    fn resize(&self, _: &Path, place: Place) -> io::Result<()> {
        self.call(format!("resize {}", place.number)).map_err(io::Error::from_raw_os_error)?;
        self.show(place);
        Ok(())
    }
}
