//! A disk of the image as the loader finds it: its boot state and its EFI partition, to be changed while no machine runs.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use boot::{
    Digest, Uki,
    meta::{BLOCK, BOOT},
    part,
    record::{self, Kind, Record, Slot},
    state::State,
};
use sha2::Digest as _;
use tests::{
    artifacts, child,
    cuts::Recorder,
    scratch::Scratch,
    vm::{Disk, Spec},
};

/// Where the EFI partition begins; META follows it.
pub(crate) const ESP: u64 = 1 << 20;
/// And there it does.
pub(crate) const META: u64 = match part::ESP.size {
    Some(size) => ESP + size,
    None => ESP,
};

/// The image's partitions, STATE, and some more.
pub(crate) const ROOMY: u64 = 4 << 30;

/// A disk of its own.
pub(crate) struct BootDisk {
    folder: Scratch,
    log: Option<PathBuf>,
}

impl BootDisk {
    /// A copy of the test image's, with the holes of a sparse file.
    pub(crate) fn of_image() -> Result<Self> {
        Self::copy(&artifacts::test_image().raw()?)
    }

    /// The same on a disk with room for a configuration.
    pub(crate) fn roomy() -> Result<Self> {
        let disk = Self::of_image()?;
        OpenOptions::new().write(true).open(disk.path())?.set_len(ROOMY)?;
        Ok(disk)
    }

    /// What `keep` wrote.
    pub(crate) fn kept(file: &Path) -> Result<Self> {
        let disk = Self { folder: Scratch::new()?, log: None };
        let packed = disk.folder.path().join("packed");
        run(child::free("zstd").args(["-q", "-d"]).arg(file).arg("-o").arg(&packed))?;
        run(child::free("qemu-img").args(["convert", "-O", "raw"]).arg(&packed).arg(disk.path()))?;
        Ok(disk)
    }

    /// Writes it to a small file: without its UKIs, which say nothing about formats, and without what they left.
    pub(crate) fn keep(&self, file: &Path) -> Result<()> {
        self.remove("/EFI/stele/*.efi")?;
        let (zeros, path) = (self.folder.path().join("zeros"), "/zeros");
        // Until there is no room: mcopy keeps nothing of a file that does not fit.
        for size in (0..10).map(|power| (256 << 20) >> power) {
            File::create(&zeros)?.set_len(size)?;
            while run(self.mtools("mcopy").arg(&zeros).arg(format!("::{path}{size}"))).is_ok() {
                let full = format!("{path}{size}");
                run(self.mtools("mmove").arg(format!("::{full}")).arg(format!("::{full}.{}", self.names("/")?.len())))?;
            }
        }
        self.remove("/zeros*")?;
        let packed = self.folder.path().join("packed");
        run(child::free("qemu-img").args(["convert", "-O", "qcow2"]).arg(self.path()).arg(&packed))?;
        run(child::free("zstd").args(["-q", "-19", "-f"]).arg(packed).arg("-o").arg(file))
    }

    /// A copy of this one.
    pub(crate) fn another(&self) -> Result<Self> {
        Self::copy(&self.path())
    }

    fn copy(from: &Path) -> Result<Self> {
        let disk = Self { folder: Scratch::new()?, log: None };
        run(child::free("cp").arg("--sparse=always").arg(from).arg(disk.path()))?;
        Ok(disk)
    }

    /// What machines write to it from now on is recorded.
    pub(crate) fn record(&mut self) -> Recorder {
        let log = self.folder.path().join("log");
        self.log = Some(log.clone());
        Recorder::new(&log)
    }

    /// The disk for a machine, which writes to it.
    pub(crate) fn disk(&self) -> Disk {
        Disk { writable: true, log: self.log.clone(), ..Disk::of(self.path()) }
    }

    /// The raw disk.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("disk.raw")
    }

    /// A machine with this disk, which is written to.
    pub(crate) fn whole_spec(&self) -> Result<Spec> {
        Ok(Spec { disks: vec![self.disk()], tpm: false, ..Spec::disk(&artifacts::test_image())? })
    }

    /// The same for who looks at nothing but its firmware and loader.
    pub(crate) fn spec(&self) -> Result<Spec> {
        Ok(Spec { nic: None, memory: 512, ..self.whole_spec()? })
    }

    /// The boot state that counts, and how often it was written.
    pub(crate) fn state(&self) -> Result<Option<(u64, State)>> {
        let [a, b] = self.regions()?;
        let Some((_, record)) = record::decode_newest(Kind::Boot, &a, &b) else { return Ok(None) };
        let state = State::decode(record.payload).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Some((record.seq, state)))
    }

    /// Writes a boot state as machined does.
    pub(crate) fn set_state(&self, state: &State) -> Result<()> {
        let [a, b] = self.regions()?;
        let (slot, seq) = record::next(record::decode_newest(Kind::Boot, &a, &b));
        let mut region = vec![0; BLOCK];
        record::encode(Kind::Boot, Record { seq, payload: &state.encode() }, &mut region)?;
        self.set_region(slot, &region)
    }

    /// Puts a UKI on trial as an upgrade does: the file, then the state. Returns its number.
    pub(crate) fn stage(&self, uki: &[u8]) -> Result<u32> {
        let (_, state) = self.state()?.context("no boot state")?;
        let slot = state.free_slot(Some(state.current))?;
        let uki = self.put_uki(uki, Some(uki))?;
        let (state, number) = state.empty(slot).stage(slot, uki)?;
        self.set_state(&state)?;
        Ok(number)
    }

    /// Writes one of the two places of the boot state.
    pub(crate) fn set_region(&self, slot: Slot, bytes: &[u8]) -> Result<()> {
        let mut disk = OpenOptions::new().write(true).open(self.path())?;
        disk.seek(SeekFrom::Start(META + BOOT.get(slot).offset))?;
        Ok(disk.write_all(bytes)?)
    }

    fn regions(&self) -> Result<[Vec<u8>; 2]> {
        let mut disk = File::open(self.path())?;
        let mut read = |slot| {
            let mut bytes = vec![0; BLOCK];
            disk.seek(SeekFrom::Start(META + BOOT.get(slot).offset))?;
            disk.read_exact(&mut bytes).map(|()| bytes)
        };
        Ok([read(Slot::A)?, read(Slot::B)?])
    }

    /// Puts a UKI where its digest says, with what the disk holds of it instead, if it holds anything.
    pub(crate) fn put_uki(&self, uki: &[u8], held: Option<&[u8]>) -> Result<Uki> {
        let digest = Digest(sha2::Sha256::digest(uki).into());
        if let Some(held) = held {
            self.put(digest.path().as_str(), held)?;
        }
        Ok(Uki { digest, size: uki.len() as u64 })
    }

    /// Writes a file of the EFI partition.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let file = self.folder.path().join("file");
        fs::write(&file, bytes)?;
        run(self.mtools("mcopy").arg("-o").arg(file).arg(format!("::{path}")))
    }

    /// Reads a file of the EFI partition.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.folder.path().join("file");
        run(self.mtools("mcopy").args(["-o", &format!("::{path}")]).arg(&file))?;
        Ok(fs::read(file)?)
    }

    /// The names in a folder of the EFI partition, in their order.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>> {
        let mut command = self.mtools("mdir");
        let output = command.args(["-b", &format!("::{path}")]).output()?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut names: Vec<_> = text.lines().filter_map(|line| Some(line.rsplit_once('/')?.1.to_owned())).collect();
        names.sort();
        Ok(names)
    }

    /// Removes files of the EFI partition, with `*` for any.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        run(self.mtools("mdel").arg(format!("::{path}")))
    }

    fn mtools(&self, program: &str) -> Command {
        let mut command = child::free(program);
        command.arg("-i").arg(format!("{}@@{ESP}", self.path().display()));
        // Cylinders and heads mean nothing to it either.
        command.env("MTOOLS_SKIP_CHECK", "1");
        command
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}; run `make setup`"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// An EFI program of a few instructions, which differs from others in its tag: what the loader takes for a UKI.
pub(crate) fn program(code: &[u8], tag: u32) -> Vec<u8> {
    const SIGNATURE: usize = 64;
    const OPTIONAL: usize = SIGNATURE + 24;
    const TABLE: usize = OPTIONAL + 240;
    let mut pe = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| pe[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(60, &[64]);
    put(SIGNATURE, b"PE\0\0\x64\x86\x01\0");
    put(SIGNATURE + 20, &[240, 0, 0x22, 0]);
    put(OPTIONAL, &[0x0b, 2]);
    // Entry point, section and file alignment, size in memory and of the headers; an EFI application; data directories.
    for (at, value) in [(16, 0x1000), (32, 0x1000), (36, 0x200), (56, 0x2000), (60, 0x200), (68, 10), (108, 16)] {
        put(OPTIONAL + at, &u32::to_le_bytes(value));
    }
    put(TABLE, b".text");
    for (at, value) in [(8, 0x200), (12, 0x1000), (16, 0x200), (20, 0x200), (36, 0x6000_0020)] {
        put(TABLE + at, &u32::to_le_bytes(value));
    }
    put(512, code);
    put(1020, &tag.to_le_bytes());
    pe
}

/// Goes on for ever: a UKI that started.
pub(crate) const RUNS: &[u8] = &[0xf3, 0x90, 0xeb, 0xfc];
/// Returns EFI_UNSUPPORTED.
pub(crate) const RETURNS: &[u8] = &[0x48, 0xb8, 3, 0, 0, 0, 0, 0, 0, 0x80, 0xc3];
/// An instruction that does not exist.
pub(crate) const FAULTS: &[u8] = &[0x0f, 0x0b];
