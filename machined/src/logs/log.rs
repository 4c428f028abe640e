//! One log: at most two files in /run, of 512 KiB or less where there are many logs, filled by splice(2) so that a byte is at any instant either in the
//! pipe or in the file. Drains and `trace` write, readers read; all in this process.
//!
//! Invariant: offsets only rise, also across a restart of machined; what is cut off is the oldest and is counted.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::pipe::SpliceFlags;
use tokio::sync::watch;

use super::segment::{Mark, Segment};

/// Largest size of one of the two files: enough for some thousand lines, and small beside 384 MiB of memory.
pub(super) const SEGMENT: u64 = 512 * 1024;

/// The log of one service.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    /// How large a file may grow; shared by all logs.
    size: Arc<AtomicU64>,
    kept: Mutex<Kept>,
    end: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    /// One or two, in order.
    segments: VecDeque<Arc<Segment>>,
    /// Lost, and not in a mark yet.
    dropped: u64,
}

impl Log {
    /// Opens the log kept in `dir`, or starts one there; its files grow to `size` as it is at the time.
    pub(super) fn open(dir: &Path, size: Arc<AtomicU64>) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut bases = Segment::list(dir)?;
        if bases.is_empty() {
            bases.push(0);
        }
        let segments: VecDeque<_> =
            bases.into_iter().map(|base| Segment::open(dir, base).map(Arc::new)).collect::<io::Result<_>>()?;
        let last = &segments[segments.len() - 1];
        let end = watch::Sender::new(last.base + last.len()?);
        Ok(Self { dir: dir.to_owned(), size, kept: Mutex::new(Kept { segments, dropped: 0 }), end })
    }

    /// Moves what is in the pipe, at most `most` bytes, to the end of the log. `Ok(0)`: the pipe has no writer left.
    pub fn splice(&self, pipe: BorrowedFd<'_>, most: u64) -> io::Result<u64> {
        let (mut kept, segment, end, room) = self.room()?;
        let mut at = end - segment.base;
        let most = usize::try_from(most.min(room)).unwrap_or(usize::MAX);
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = rustix::pipe::splice(pipe, None, &segment.file, Some(&mut at), most, flags)? as u64;
        self.grow(&mut kept, &segment, end, moved)?;
        Ok(moved)
    }

    /// Adds bytes of machined's own.
    pub fn append(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (mut kept, segment, end, room) = self.room()?;
            let at = end - segment.base;
            let most = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            segment.file.write_all_at(&bytes[..most], at)?;
            self.grow(&mut kept, &segment, end, most as u64)?;
            bytes = &bytes[most..];
        }
        Ok(())
    }

    /// Says that so many bytes were lost here; readers are told with what comes next. Once this returns well, a later
    /// machined knows it too.
    pub fn lost(&self, bytes: u64) -> io::Result<()> {
        self.lock().dropped += bytes;
        let (mut kept, segment, end, _) = self.room()?;
        Self::mark(&mut kept, &segment, end)
    }

    /// The end of the log, now and whenever it grows.
    pub(super) fn end(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// The first offset that is kept.
    pub(super) fn start(&self) -> u64 {
        self.lock().segments[0].base
    }

    /// Reads the bytes from `from` (not before [`Self::start`]) up to `to`, with the marks that bear on them. `None`
    /// when they were cut off meanwhile.
    pub(super) fn read(&self, from: u64, to: u64) -> io::Result<Option<(Vec<u8>, Vec<Mark>)>> {
        let segments: Vec<_> = self.lock().segments.iter().cloned().collect();
        if segments[0].base > from {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
        let mut marks = Vec::new();
        for (i, segment) in segments.iter().enumerate() {
            let until = segments.get(i + 1).map_or(u64::MAX, |next| next.base).min(to);
            let start = from.max(segment.base);
            if start >= until {
                continue;
            }
            let part = usize::try_from(start - from).unwrap_or(0)..usize::try_from(until - from).unwrap_or(0);
            segment.file.read_exact_at(&mut bytes[part], start - segment.base)?;
            marks.extend(segment.marks(start, until));
        }
        Ok(Some((bytes, marks)))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment to write to, after making room; the log's end, and how many bytes there is room for.
    fn room(&self) -> io::Result<(MutexGuard<'_, Kept>, Arc<Segment>, u64, u64)> {
        let mut kept = self.lock();
        let end = *self.end.borrow();
        // Read once: it shrinks when there are more logs.
        let size = self.size.load(Ordering::Relaxed).max(1);
        let last = kept.segments[kept.segments.len() - 1].clone();
        let room = (last.base + size).saturating_sub(end);
        // An empty one is never full: the next would have its name.
        if end == last.base || (room > 0 && !last.marks_full(size)) {
            return Ok((kept, last, end, room));
        }
        let next = Arc::new(Segment::open(&self.dir, end)?);
        // Noted at the very end, so it belongs to what comes next.
        kept.dropped += last.lost_at(end);
        kept.segments.push_back(next.clone());
        while kept.segments.len() > 2 {
            if let Some(oldest) = kept.segments.pop_front() {
                oldest.remove()?;
            }
        }
        Ok((kept, next, end, size))
    }

    fn grow(&self, kept: &mut Kept, segment: &Segment, end: u64, by: u64) -> io::Result<()> {
        if by == 0 {
            return Ok(());
        }
        // The bytes are there, whatever becomes of the mark.
        let marked = Self::mark(kept, segment, end);
        self.end.send_replace(end + by);
        marked
    }

    /// Notes when what comes at `end` came, and what was lost before it; the loss stays known until it is written.
    fn mark(kept: &mut Kept, segment: &Segment, end: u64) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let time_ns = u64::try_from(now).unwrap_or(u64::MAX);
        segment.mark(Mark { offset: end, time_ns, dropped: kept.dropped })?;
        kept.dropped = 0;
        Ok(())
    }
}
