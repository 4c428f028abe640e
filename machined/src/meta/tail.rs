//! Brings the kernel's log, which machined's own lines are part of, to META's ring, and the last boot's to the logs.
//!
//! Invariant: each line is written, in order; what could not be written is kept (bounded) and tried again. The cursor in
//! /run lets a new machined go on; it is moved after the write, so a machined that dies in between repeats lines and
//! loses none. Called by the boot controllers, and by `shutdown` for the last lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Error, Handle, Ring};
use crate::logs::{Line, Logs, Start};
use crate::trace::chain;
use crate::uptime;

/// The log of the boot before, for readers of logs.
const LAST: &str = "last-boot";
/// Text kept while META cannot be written: what the ring holds of a usual boot several times over.
const PENDING_MAX: usize = 256 * 1024;

/// The writer; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tail(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    meta: Handle,
    logs: Logs,
    /// Where a line is from and what it says; a field for tests.
    source: fn(&Logs, &Start) -> Option<crate::logs::Reader>,
    cursor: PathBuf,
    last: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ring: Option<Ring>,
    pending: Vec<u8>,
    /// Where the log goes on after `pending`; not in the file yet.
    cursor: Option<String>,
}

/// What is known of the boot before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The kernel's id of that boot.
    pub boot_id: String,
    /// Bytes of its log.
    pub bytes: u64,
}

impl Tail {
    /// `run`: machined's folder in /run.
    pub fn new(meta: Handle, logs: Logs, run: &Path) -> Self {
        Self::with_source(meta, logs, run, |logs, start| logs.kernel(start, false).ok())
    }

    fn with_source(
        meta: Handle,
        logs: Logs,
        run: &Path,
        source: fn(&Logs, &Start) -> Option<crate::logs::Reader>,
    ) -> Self {
        let (cursor, last) = (run.join("boot-log-cursor"), run.join("last-boot.json"));
        let known = Self(Arc::new(Shared { meta, logs, source, cursor, last, inner: Mutex::default() }));
        if known.last().is_some() {
            // An earlier machined of this boot has filled it: readers find it again.
            let _ = known.0.logs.log(LAST);
        }
        known
    }

    /// The logs it reads and fills.
    pub fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// What META kept of the boot before; known after the first [`Tail::flush`].
    pub fn last(&self) -> Option<Kept> {
        serde_json::from_slice(&fs::read(&self.0.last).ok()?).ok()
    }

    /// Writes what is new; false when there is no META to write to.
    ///
    /// # Errors
    /// The disk; the next call tries again.
    pub async fn flush(&self) -> Result<bool, Error> {
        let shared = &self.0;
        let mut inner = shared.inner.lock().await;
        self.read(&mut inner).await;
        // Twice: META that went away since the last call, as when its disk got its own GUIDs, may be back already.
        for _ in 0..2 {
            if inner.ring.is_none() {
                let Some((ring, last)) = Ring::open(&shared.meta).await? else { return Ok(false) };
                if let Some(last) = last.filter(|_| !shared.last.exists()) {
                    self.keep(&last);
                }
                inner.ring = Some(ring);
            }
            if inner.pending.is_empty() {
                return Ok(true);
            }
            let Inner { ring: Some(ring), pending, cursor } = &mut *inner else { return Ok(false) };
            if ring.append(pending).await? {
                pending.clear();
                if let Some(cursor) = cursor
                    && let Err(error) = fs::write(&shared.cursor, cursor)
                {
                    tracing::warn!("cannot keep how far the boot log was written: {error}");
                }
                return Ok(true);
            }
            inner.ring = None;
        }
        Ok(false)
    }

    fn keep(&self, last: &super::Last) {
        let kept = Kept { boot_id: last.boot_id.clone(), bytes: last.text.len() as u64 };
        let log = self.0.logs.log(LAST).map(|log| log.append(&last.text));
        let saved = serde_json::to_vec(&kept).map(|json| fs::write(&self.0.last, json));
        if !matches!((&log, &saved), (Ok(Ok(())), Ok(Ok(())))) {
            tracing::warn!(?log, ?saved, "the log of the last boot is not shown");
        }
    }

    /// Adds the lines that came since the last call.
    async fn read(&self, inner: &mut Inner) {
        let Inner { pending: into, cursor, .. } = inner;
        let known = cursor.clone().or_else(|| fs::read_to_string(&self.0.cursor).ok());
        let start = known.map_or(Start::Oldest, Start::Cursor);
        let Some(mut reader) = (self.0.source)(&self.0.logs, &start) else { return };
        let booted = uptime::log_zero_unix_ns();
        loop {
            match reader.next().await {
                Ok(Some(chunk)) => {
                    if chunk.dropped > 0 {
                        into.extend(format!("[{} lines were lost]\n", chunk.dropped).bytes());
                    }
                    chunk.lines.iter().for_each(|line| print(line, booted, into));
                    *cursor = Some(chunk.cursor);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!("the kernel's log cannot be read: {}", chain(&error));
                    break;
                }
            }
        }
        let excess = into.len().saturating_sub(PENDING_MAX);
        into.drain(..excess);
    }
}

/// As dmesg(1) does: `[    1.234567] text`.
fn print(line: &Line, booted: u64, into: &mut Vec<u8>) {
    let us = line.time_unix_ns.saturating_sub(booted) / 1000;
    into.extend(format!("[{:5}.{:06}] ", us / 1_000_000, us % 1_000_000).bytes());
    into.extend_from_slice(&line.text);
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::tests::fresh;

    const ONE: &str = "11111111-1111-4111-8111-111111111111";
    const TWO: &str = "22222222-2222-4222-8222-222222222222";

    /// Lines of a log that is not the kernel's.
    fn source(logs: &Logs, start: &Start) -> Option<crate::logs::Reader> {
        logs.open("source", start, false).ok()
    }

    fn tail(dir: &Path, boot: &str) -> (Tail, Handle, Logs) {
        let run = dir.join(boot);
        fs::create_dir_all(&run).unwrap();
        let (meta, logs) = (Handle::new(boot), Logs::new(run.join("logs"), boot));
        logs.log("source").unwrap();
        (Tail::with_source(meta.clone(), logs.clone(), &run, source), meta, logs)
    }

    async fn text(logs: &Logs) -> String {
        let mut reader = logs.open(LAST, &Start::Oldest, false).unwrap();
        let mut text = String::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            chunk.lines.iter().for_each(|line| text += &format!("{}\n", String::from_utf8_lossy(&line.text)));
        }
        text
    }

    #[tokio::test]
    async fn lines_that_were_not_written_are_read_again_by_the_next_machined() {
        let dir = tempfile::tempdir().unwrap();
        let device = fresh(dir.path());
        let (first, meta, logs) = tail(dir.path(), ONE);
        meta.attach(&device).await.unwrap();
        logs.log("source").unwrap().append(b"one\n").unwrap();
        assert!(first.flush().await.unwrap());
        logs.log("source").unwrap().append(b"two\n").unwrap();
        meta.detach("unplugged");
        assert!(!first.flush().await.unwrap());
        drop(first);
        meta.attach(&device).await.unwrap();
        let again = Tail::with_source(meta, logs, &dir.path().join(ONE), source);
        assert!(again.flush().await.unwrap());

        let (second, meta, logs) = tail(dir.path(), TWO);
        meta.attach(&device).await.unwrap();
        assert!(second.flush().await.unwrap());
        assert!(text(&logs).await.contains("] two\n"));
    }

    #[tokio::test]
    async fn the_next_boot_shows_each_line_once() {
        let dir = tempfile::tempdir().unwrap();
        let device = fresh(dir.path());
        let (first, meta, logs) = tail(dir.path(), ONE);
        logs.log("source").unwrap().append(b"one\n").unwrap();
        assert!(!first.flush().await.unwrap());
        meta.attach(&device).await.unwrap();
        assert!(first.flush().await.unwrap());
        logs.log("source").unwrap().append(b"two\n").unwrap();
        // machined is started again
        let again = Tail::with_source(meta.clone(), logs.clone(), &dir.path().join(ONE), source);
        assert!(again.flush().await.unwrap());
        assert_eq!(again.last(), None);

        let (second, meta, logs) = tail(dir.path(), TWO);
        meta.attach(&device).await.unwrap();
        assert!(second.flush().await.unwrap());
        assert_eq!(second.last().unwrap().boot_id, ONE);
        let text = text(&logs).await;
        let lines: Vec<_> = text.lines().map(|line| line.split_once("] ").unwrap().1).collect();
        assert_eq!(lines, ["one", "two"]);
    }
}
