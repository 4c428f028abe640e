//! The kernel's ring, read from /dev/kmsg. The kernel keeps the lines and their sequence numbers, which are the cursors;
//! each reader has its own descriptor and so its own place. One that does not follow ends where the ring ended when it was opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use tokio::io::unix::AsyncFd;

use super::line::{Chunk, Line, Start};
use crate::trace::shown;
use crate::uptime;

/// The largest record the kernel hands out (CONSOLE_EXT_LOG_MAX of printk).
const RECORD: usize = 8192;
/// Records of one chunk: with the usual 80 bytes well under 64 KiB.
const RECORDS: usize = 256;

/// One reader of the kernel's ring.
#[derive(Debug)]
pub struct KernelReader {
    kmsg: AsyncFd<File>,
    /// What cursors begin with.
    epoch: String,
    /// The sequence number expected next.
    next: u64,
    /// Whether `next` is known.
    started: bool,
    /// Read ahead: the first after a loss.
    ahead: Option<Record>,
    /// The number before which it ends; none for who follows.
    until: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
struct Record {
    seq: u64,
    line: Line,
}

impl KernelReader {
    pub(super) fn new(epoch: String, start: &Start, follow: bool) -> Result<Self, super::Error> {
        let kmsg = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open("/dev/kmsg")
            .and_then(crate::poll::readable)
            .map_err(super::Error::Read)?;
        let mut reader = Self { kmsg, epoch, next: 0, started: false, ahead: None, until: None };
        if !follow || matches!(start, Start::Tail(_)) {
            let numbers = reader.survey().map_err(super::Error::Read)?;
            if let (Start::Tail(lines), Some((oldest, end))) = (start, numbers) {
                (reader.next, reader.started) = (end.saturating_sub((*lines).into()).max(oldest), true);
            }
            if !follow {
                reader.until = Some(numbers.map_or(0, |(_, end)| end));
            }
        }
        match start {
            Start::Oldest | Start::Tail(_) => {}
            Start::Cursor(cursor) => match cursor.split_once(':') {
                Some((of, seq)) if of == reader.epoch => {
                    reader.next = seq.parse().map_err(|_| super::Error::Cursor(shown(cursor)))?;
                    reader.started = true;
                }
                Some(_) => {}
                None => return Err(super::Error::Cursor(shown(cursor))),
            },
        }
        Ok(reader)
    }

    /// The next lines; `None` at the end of a log that is not followed. Cancel-safe.
    pub async fn next(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            if let Some(chunk) = self.take()? {
                return Ok(Some(chunk));
            }
            if self.until.is_some() {
                return Ok(None);
            }
            self.kmsg.readable().await?.clear_ready();
        }
    }

    fn take(&mut self) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        while chunk.lines.len() < RECORDS {
            let Some(record) = self.ahead.take().map_or_else(|| self.read(), |r| Ok(Some(r)))? else { break };
            if self.until.is_some_and(|until| record.seq >= until) {
                break;
            }
            if self.started && record.seq < self.next {
                continue; // before the cursor
            }
            if self.started && record.seq > self.next {
                if !chunk.lines.is_empty() {
                    self.ahead = Some(record);
                    break; // a chunk begins with a loss, it never hides one
                }
                chunk.dropped = record.seq - self.next;
            }
            (self.next, self.started) = (record.seq + 1, true);
            chunk.lines.push(record.line);
        }
        chunk.cursor = self.cursor();
        Ok((!chunk.lines.is_empty()).then_some(chunk))
    }

    pub(super) fn cursor(&self) -> String {
        format!("{}:{}", self.epoch, self.next)
    }

    /// Goes over the ring once for its numbers, which have no gaps, and back to its start: the oldest, and the next to come.
    /// `take` passes over what is before.
    fn survey(&mut self) -> io::Result<Option<(u64, u64)>> {
        let mut numbers: Option<(u64, u64)> = None;
        while let Some(record) = self.read()? {
            numbers = Some((numbers.map_or(record.seq, |(oldest, _)| oldest), record.seq + 1));
        }
        self.kmsg.get_ref().seek(SeekFrom::Start(0))?;
        Ok(numbers)
    }

    /// One record; `None` when there is none yet.
    fn read(&mut self) -> io::Result<Option<Record>> {
        let mut bytes = [0; RECORD];
        loop {
            match self.kmsg.get_ref().read(&mut bytes) {
                Ok(n) => {
                    if let Some(record) = parse(&bytes[..n], uptime::log_zero_unix_ns()) {
                        return Ok(Some(record));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // EPIPE: overtaken by the ring; the next read gives the oldest there is, its number tells how many.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe || e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// `priority,sequence,microseconds,flags;text\n`, then ` KEY=value` lines, which are left out
/// (Documentation/ABI/testing/dev-kmsg).
fn parse(record: &[u8], boot_unix_ns: u64) -> Option<Record> {
    let (head, text) = record.split_at(record.iter().position(|b| *b == b';')?);
    let mut fields = std::str::from_utf8(head).ok()?.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let seq = fields.next()?.parse().ok()?;
    let us: u64 = fields.next()?.parse().ok()?;
    let text = text[1..].split(|b| *b == b'\n').next()?;
    let line = Line {
        text: text.to_vec(),
        time_unix_ns: boot_unix_ns.saturating_add(us.saturating_mul(1000)),
        priority: u8::try_from(priority & 7).ok()?,
        partial: false,
    };
    Some(Record { seq, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_first_line() {
        let record = parse(b"30,339,5140900,-;eth0: up\n SUBSYSTEM=net\n DEVICE=n2\n", 1_000).unwrap();
        assert_eq!(record.seq, 339);
        assert_eq!(record.line.text, b"eth0: up");
        assert_eq!(record.line.priority, 6);
        assert_eq!(record.line.time_unix_ns, 5_140_901_000);
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        for bytes in [&b""[..], b"no head\n", b"x,1,2;text", b"6,1;text", b"6,x,2,-;text"] {
            assert_eq!(parse(bytes, 0), None);
        }
    }

    fuzz::targets! {
        kmsg: |bytes| {
            if let Some(record) = parse(bytes, uptime::log_zero_unix_ns()) {
                assert!(record.line.priority < 8 && !record.line.text.contains(&b'\n'));
            }
        },
    }
}
