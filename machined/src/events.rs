//! What happened, for people: a bounded ring of events, in the store as type "event" and in one file under /run, so that
//! a new machined goes on with the same events and the next number.
//!
//! Invariant: at most [`KEPT`] events; numbers only rise within a boot. Everybody may write; nobody waits for it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use reconcile::{ClaimError, Store, Writer};
use serde::{Deserialize, Serialize};

use crate::resources::event::{Event, Severity};
use crate::{file, trace, uptime};

/// How many events are kept: some hours of trouble, under 200 KiB.
pub const KEPT: usize = 512;
/// Longer messages are cut, so that the ring is bounded in bytes too.
const MESSAGE_MAX: usize = 512;

/// Writes events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events(Arc<Mutex<Ring>>);

#[derive(Debug)]
struct Ring {
    writer: Writer<Event>,
    path: PathBuf,
    file: Option<File>,
    /// Lines in the file; it is written anew when there are twice as many as are kept.
    lines: usize,
    kept: VecDeque<Line>,
    next: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    number: u64,
    event: Event,
}

impl Events {
    /// Goes on with the events in the file, if there are any. A damaged file never keeps machined from starting.
    ///
    /// # Errors
    /// Somebody else writes the type.
    pub fn open(store: &Store, path: impl AsRef<Path>) -> Result<Self, ClaimError> {
        let path = path.as_ref().to_owned();
        let bytes = fs::read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                let path = path.display();
                tracing::warn!("cannot read the events of this boot from {path}; their numbers start again: {error}");
            }
            Vec::new()
        });
        // A line is damaged when machined died while it wrote, or /run was full; then that event is lost, not the file.
        let lines = bytes.split(|byte| *byte == b'\n');
        let mut kept: VecDeque<Line> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        while kept.len() > KEPT {
            kept.pop_front();
        }
        let writer = store.writer::<Event>("events")?;
        writer.replace_all(kept.iter().map(|line| (id(line.number), line.event.clone())));
        let next = kept.back().map_or(1, |line| line.number + 1);
        let mut ring = Ring { writer, path, file: None, lines: 0, kept, next };
        ring.rewrite();
        Ok(Self(Arc::new(Mutex::new(ring))))
    }

    /// Normal operation.
    pub fn info(&self, source: &str, message: impl Into<String>) {
        let message = message.into();
        tracing::info!(source, "{message}");
        self.push(Severity::Info, source, message);
    }

    /// Something to look at.
    pub fn warn(&self, source: &str, message: impl Into<String>) {
        let message = message.into();
        tracing::warn!(source, "{message}");
        self.push(Severity::Warning, source, message);
    }

    /// Something failed.
    pub fn error(&self, source: &str, message: impl Into<String>) {
        let message = message.into();
        tracing::error!(source, "{message}");
        self.push(Severity::Error, source, message);
    }

    fn push(&self, severity: Severity, source: &str, message: String) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let event = Event {
            severity,
            source: source.to_owned(),
            message: trace::cut(message, MESSAGE_MAX),
            uptime_ms: uptime::now_ms(),
            time_unix_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        };
        // A writer that panicked left at most one event half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl Ring {
    fn push(&mut self, event: Event) {
        let line = Line { number: self.next, event };
        self.next += 1;
        // First, so that what was seen is not forgotten by the next machined, nor its number used again.
        self.append(&line);
        self.writer.put(id(line.number), line.event.clone());
        if self.kept.len() == KEPT
            && let Some(old) = self.kept.pop_front()
        {
            self.writer.remove(id(old.number));
        }
        self.kept.push_back(line);
        if self.lines > 2 * KEPT {
            self.rewrite();
        }
    }

    /// Without the file the ring still works; only a restart of machined would forget.
    fn append(&mut self, line: &Line) {
        if let (Some(file), Ok(mut text)) = (&mut self.file, serde_json::to_vec(line)) {
            text.push(b'\n');
            if let Err(error) = file.write_all(&text) {
                tracing::warn!("cannot keep an event in {}: {error}", self.path.display());
            }
            self.lines += 1;
        }
    }

    fn rewrite(&mut self) {
        match self.write_new() {
            Ok(file) => {
                self.file = Some(file);
                self.lines = self.kept.len();
            }
            Err(error) => tracing::warn!("cannot keep events in {}: {error}", self.path.display()),
        }
    }

    /// The new file takes the old one's name when it is whole.
    fn write_new(&self) -> io::Result<File> {
        let mut text = Vec::new();
        for line in &self.kept {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        file::replace(&self.path, &text, 0o644)?;
        OpenOptions::new().append(true).open(&self.path)
    }
}

fn id(number: u64) -> String {
    format!("{number:010}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_machined_goes_on_with_the_next_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/events");
        let store = Store::new();
        let events = Events::open(&store, &path).unwrap();
        events.info("network", "eth0 is up");
        events.warn("network", "é".repeat(2000));
        drop(events);
        // Garbage, then a write that was cut.
        let damage = b"\xff\xfe\0\n{\"number\":3,";
        OpenOptions::new().append(true).open(&path).unwrap().write_all(damage).unwrap();
        let store = Store::new();
        let events = Events::open(&store, &path).unwrap();
        events.error("boot", "third");
        let list = store.list::<Event>();
        let ids: Vec<&str> = list.iter().map(|object| object.id.as_str()).collect();
        assert_eq!(ids, ["0000000001", "0000000002", "0000000003"]);
        assert_eq!(list[2].value.message, "third");
        assert!(list[1].value.message.len() <= MESSAGE_MAX);
    }

    #[test]
    fn who_sees_an_event_finds_it_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let store = Store::new();
        let events = Events::open(&store, &path).unwrap();
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| (0..500).for_each(|n| events.info("test", format!("event {n}"))));
            while !writing.is_finished() {
                let Some(newest) = store.list::<Event>().pop() else { continue };
                let kept = fs::read_to_string(&path).unwrap();
                assert!(kept.lines().count() >= newest.id.parse::<usize>().unwrap(), "{} is not kept", newest.id);
            }
        });
    }

    #[test]
    fn a_file_that_cannot_be_read_does_not_end_machined() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        fs::create_dir(&path).unwrap();
        let store = Store::new();
        Events::open(&store, &path).unwrap().info("test", "still told");
        assert_eq!(store.list::<Event>().len(), 1);
    }

    #[test]
    fn the_ring_and_its_file_stay_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let store = Store::new();
        let events = Events::open(&store, &path).unwrap();
        for number in 0..3 * KEPT {
            events.info("test", format!("event {number}"));
        }
        let list = store.list::<Event>();
        assert_eq!(list.len(), KEPT);
        assert_eq!(list[KEPT - 1].id, id(3 * KEPT as u64));
        assert!(fs::read_to_string(&path).unwrap().lines().count() <= 2 * KEPT + 1);
    }
}
