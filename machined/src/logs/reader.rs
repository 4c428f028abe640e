//! Reads a log from a place on, line by line. Holds no lines: a slow reader skips, with the count, what was cut off
//! meanwhile. One that does not follow ends where the log ended when it was opened, however much is written meanwhile.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::line::{Chunk, Line, Start};
use super::log::Log;
use super::segment::Mark;
use crate::trace::shown;

/// The longest line handed out in one piece; service writes longer ones rarely, and a chunk must fit a message.
const LINE: usize = 16 * 1024;
/// Bytes of one chunk.
const CHUNK: u64 = 64 * 1024;
/// Lines of one chunk.
const LINES: usize = 512;
/// Severity "information": services give none.
const INFO: u8 = 6;

/// One reader of one log.
#[derive(Debug)]
pub struct ServiceReader {
    log: Arc<Log>,
    end: watch::Receiver<u64>,
    /// What cursors of this log begin with.
    epoch: String,
    at: u64,
    /// Where it ends; none for who follows.
    until: Option<u64>,
}

impl ServiceReader {
    pub(super) fn new(log: Arc<Log>, epoch: String, start: &Start, follow: bool) -> Result<Self, super::Error> {
        let end = log.end();
        let now = *end.borrow();
        let at = match start {
            Start::Oldest => 0,
            Start::Tail(lines) => tail(&log, now, *lines).map_err(super::Error::Read)?,
            Start::Cursor(cursor) => match cursor.split_once(':') {
                Some((of, at)) if of == epoch => {
                    let at = u64::from_str_radix(at, 16).map_err(|_| super::Error::Cursor(shown(cursor)))?;
                    if at > now {
                        return Err(super::Error::Cursor(shown(cursor)));
                    }
                    at
                }
                // Of another boot: its lines are gone, all that is kept is new.
                Some(_) => 0,
                None => return Err(super::Error::Cursor(shown(cursor))),
            },
        };
        Ok(Self { log, end, epoch, at, until: (!follow).then_some(now) })
    }

    /// The next lines; `None` at the end of a log that is not followed. Cancel-safe.
    pub async fn next(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            let end = self.until.unwrap_or(*self.end.borrow_and_update());
            if let Some(chunk) = self.take(end)? {
                return Ok(Some(chunk));
            }
            if self.until.is_some() || self.end.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, end: u64) -> io::Result<Option<Chunk>> {
        let mut dropped = 0;
        let start = self.log.start();
        let mut cut = self.at < start;
        if cut {
            dropped = start - self.at;
            self.at = start;
        }
        while self.at < end {
            let to = end.min(self.at + CHUNK);
            let Some((bytes, marks)) = self.log.read(self.at, to)? else {
                let start = self.log.start();
                dropped += start.saturating_sub(self.at);
                (self.at, cut) = (start.max(self.at), true);
                continue;
            };
            let mut from = 0;
            if cut {
                // The first line kept begins in what was cut off.
                from = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |i| i + 1);
                dropped += from as u64;
                cut = false;
            }
            let (lines, used) = split(self.at, &bytes, from, &marks, self.until.is_some() && to == end);
            dropped += lost(&marks, self.at, self.at + used as u64);
            self.at += used as u64;
            if lines.is_empty() && dropped == 0 && used > 0 {
                continue;
            }
            if lines.is_empty() && dropped == 0 {
                return Ok(None);
            }
            return Ok(Some(Chunk { lines, cursor: self.cursor(), dropped }));
        }
        Ok((dropped > 0).then(|| Chunk { lines: Vec::new(), cursor: self.cursor(), dropped }))
    }

    pub(super) fn cursor(&self) -> String {
        format!("{}:{:x}", self.epoch, self.at)
    }
}

/// Splits bytes that begin at offset `base` into lines, from index `from` on; returns them and how far it came. A line
/// ends at a newline, at the limit, where bytes were lost, and at the end when nothing more is waited for (`finish`).
fn split(base: u64, bytes: &[u8], mut from: usize, marks: &[Mark], finish: bool) -> (Vec<Line>, usize) {
    let mut lines = Vec::new();
    while from < bytes.len() && lines.len() < LINES {
        let at = base + from as u64;
        let loss = marks.iter().find(|m| m.dropped > 0 && m.offset > at).map(|m| m.offset - base);
        if loss.is_some() && !lines.is_empty() && lost(marks, at, at + 1) > 0 {
            break; // a chunk begins with a loss, it never hides one
        }
        let limit = usize::try_from(loss.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(bytes.len());
        let newline = bytes[from..limit].iter().take(LINE + 1).position(|b| *b == b'\n');
        let (text, next, partial) = match newline {
            Some(n) => (from..from + n, from + n + 1, false),
            None if limit - from > LINE => (from..from + LINE, from + LINE, true),
            None if limit < bytes.len() || finish => (from..limit, limit, true),
            None => break,
        };
        let time_unix_ns = marks.iter().rev().find(|m| m.offset <= at).map_or(0, |m| m.time_ns);
        lines.push(Line { text: bytes[text].to_vec(), time_unix_ns, priority: INFO, partial });
        from = next;
        if lost(marks, base + from as u64, base + from as u64 + 1) > 0 {
            break;
        }
    }
    (lines, from)
}

fn lost(marks: &[Mark], from: u64, to: u64) -> u64 {
    marks.iter().filter(|m| m.offset >= from && m.offset < to).map(|m| m.dropped).sum()
}

/// Where the last so many lines begin.
fn tail(log: &Log, end: u64, lines: u32) -> io::Result<u64> {
    let start = log.start();
    let mut at = end;
    // The newline that ends the last line does not begin another one.
    let mut wanted = u64::from(lines) + 1;
    while at > start {
        let from = at.saturating_sub(CHUNK).max(start);
        let Some((bytes, _)) = log.read(from, at)? else { break };
        for (i, byte) in bytes.iter().enumerate().rev() {
            let last = from + i as u64 + 1 == end;
            if last && *byte != b'\n' {
                wanted -= 1; // a last line without newline counts as one
                if wanted == 0 {
                    return Ok(end);
                }
            } else if *byte == b'\n' {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(from + i as u64 + 1);
                }
            }
        }
        at = from;
    }
    Ok(log.start())
}
