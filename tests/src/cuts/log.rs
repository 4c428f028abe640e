//! The log of a disk as QEMU's driver blklogwrites writes it: the format of Linux's dm-log-writes
//! (Documentation/admin-guide/device-mapper/log-writes.rst), little endian, in sectors of 512 bytes.
//!
//! ```text
//! sector 0:  magic, version, number of entries, bytes of a sector
//! then:      sector, sectors, flags, bytes of a mark | what was written, if it was a write | ... the next one
//! ```
//! Invariant: strict; what is not understood is an error. The driver notes an entry before it acts, and its number of entries at
//! flushes alone: so the file's end counts.

use std::{
    fs::File,
    io::{self, Write as _},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};

/// Bytes of a sector.
pub(super) const SECTOR: u64 = 512;
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// Bytes that were written to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// First byte on the disk.
    pub at: u64,
    /// Bytes; of whole sectors.
    pub len: u64,
    /// Where they lie in the log; none: zeros (a discard).
    from: Option<u64>,
    /// It is on the disk once it is done, without a flush.
    pub durable: bool,
}

impl Write {
    /// Its place on the disk.
    pub fn range(&self) -> Range<u64> {
        self.at..self.at + self.len
    }
}

/// What a machine asked of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// To write.
    Write(Write),
    /// To make what was written durable.
    Flush,
}

/// A log that was read.
#[derive(Debug)]
pub struct Log {
    file: File,
    entries: Vec<Entry>,
    /// Where each begins in the file.
    starts: Vec<u64>,
}

impl Log {
    /// Reads all of it.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            let head = words(&file, 0)?;
            ensure!(head[0] == MAGIC && head[1] == VERSION, "it is no log of writes");
            ensure!(head[3] & 0xffff_ffff == SECTOR, "its sectors have {} bytes", head[3] & 0xffff_ffff);
            let mut log = Self { file, entries: Vec::new(), starts: Vec::new() };
            let mut at = SECTOR;
            while at < len {
                at = log.entry(at, len).with_context(|| format!("entry {} at byte {at}", log.starts.len()))?;
            }
            let (noted, found) = (head[2], log.starts.len());
            ensure!(noted <= found as u64, "it notes {noted} entries and holds {found}");
            Ok(log)
        };
        read().with_context(|| format!("reading {}", path.display()))
    }

    /// Returns where the next one begins. A discard with a flush is two entries here.
    fn entry(&mut self, start: u64, len: u64) -> Result<u64> {
        let [sector, sectors, flags, mark] = words(&self.file, start)?;
        ensure!(flags & !(FLUSH | FUA | DISCARD) == 0 && mark == 0, "flags {flags:#x}, a mark of {mark} bytes");
        let from = start + SECTOR;
        let bytes = sectors.checked_mul(SECTOR).context("it is too long")?;
        let payload = if flags & DISCARD == 0 { bytes } else { 0 };
        let end = from.checked_add(payload).filter(|end| *end <= len).context("it is cut short")?;
        self.starts.push(start);
        // A flush goes before the write that it came with.
        if flags & FLUSH != 0 {
            ensure!(sectors == 0, "a flush with {sectors} sectors");
            self.entries.push(Entry::Flush);
        } else {
            let at = sector.checked_mul(SECTOR).context("it lies too far")?;
            let from = (payload > 0).then_some(from);
            self.entries.push(Entry::Write(Write { at, len: bytes, from, durable: flags & FUA != 0 }));
        }
        Ok(end)
    }

    /// In the order in which they were asked for.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Those that lie in these bytes of the file.
    pub fn entries_in(&self, bytes: &Range<u64>) -> Range<usize> {
        let index = |byte: u64| self.starts.partition_point(|start| *start < byte);
        index(bytes.start)..index(bytes.end)
    }

    /// What was written.
    pub fn bytes(&self, write: &Write) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(write.len)?];
        if let Some(from) = write.from {
            self.file.read_exact_at(&mut bytes, from).context("reading the log of writes")?;
        }
        Ok(bytes)
    }
}

fn words(file: &File, at: u64) -> Result<[u64; 4]> {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at).context("it is cut short")?;
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into()?);
    }
    Ok(words)
}

/// Writes such a log without a machine.
pub struct Writer {
    file: File,
    entries: u64,
}

impl Writer {
    /// A new one.
    pub fn new(path: &Path) -> Result<Self> {
        let mut writer = Self { file: File::create(path)?, entries: 0 };
        writer.sector([MAGIC, VERSION, 0, SECTOR])?;
        Ok(writer)
    }

    /// Notes a write of whole sectors.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.sector([at / SECTOR, bytes.len() as u64 / SECTOR, 0, 0])?;
        self.entries += 1;
        Ok(self.file.write_all(bytes)?)
    }

    /// Notes a flush.
    pub fn flush(&mut self) -> Result<()> {
        self.sector([0, 0, FLUSH, 0])?;
        self.entries += 1;
        Ok(self.file.write_all_at(&self.entries.to_le_bytes(), 16)?)
    }

    fn sector(&mut self, words: [u64; 4]) -> io::Result<()> {
        let mut sector = words.map(u64::to_le_bytes).concat();
        sector.resize(512, 0);
        self.file.write_all(&sector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child;

    #[test]
    fn reads_what_the_emulator_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (folder.path().join("disk"), folder.path().join("log"));
        File::create(&disk).unwrap().set_len(1 << 20).unwrap();
        File::create(&path).unwrap();
        let node = format!(
            "driver=blklogwrites,file.driver=file,file.filename={},log.driver=file,log.filename={},log-sector-size=512",
            disk.display(),
            path.display()
        );
        let mut command = child::free("qemu-io");
        command.args(["--image-opts", &node]);
        for order in ["write -P 1 4096 1024", "flush", "write -z 8192 512", "discard 16384 4096", "flush"] {
            command.args(["-c", order]);
        }
        assert!(command.output().unwrap().status.success());
        let log = Log::read(&path).unwrap();
        let write = |at, len, from| Entry::Write(Write { at, len, from, durable: false });
        let [first, Entry::Flush, zero, discard, Entry::Flush] = log.entries()[..] else { panic!("{log:?}") };
        assert_eq!((first, discard), (write(4096, 1024, Some(1024)), write(16384, 4096, None)));
        let (Entry::Write(first), Entry::Write(zero)) = (first, zero) else { panic!("{log:?}") };
        assert_eq!((zero.at, log.bytes(&zero).unwrap()), (8192, vec![0; 512]));
        assert_eq!(log.bytes(&first).unwrap(), [1; 1024]);
        assert_eq!(log.entries_in(&(0..600)), 0..1);
        assert_eq!(log.entries_in(&(600..u64::MAX)), 1..5);
    }

    #[test]
    fn what_is_no_log_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = Writer::new(&path).unwrap();
        writer.write(512, &[7; 1024]).unwrap();
        writer.flush().unwrap();
        assert_eq!(Log::read(&path).unwrap().entries().len(), 2);
        let good = std::fs::read(&path).unwrap();
        let told = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            format!("{:#}", Log::read(&path).unwrap_err())
        };
        assert!(told(&|bytes| bytes[0] = 0).contains("no log"));
        assert!(told(&|bytes| bytes[25] = 9).contains("sectors have"));
        assert!(told(&|bytes| bytes[16] = 9).contains("notes 9 entries and holds 2"));
        assert!(told(&|bytes| bytes[512 + 16] = 8).contains("entry 0 at byte 512: flags 0x8"));
        assert!(told(&|bytes| bytes.truncate(1200)).contains("cut short"));
    }
}
