//! machined's own log: to the kernel log (so that it survives machined, and errors reach the console) and to the log called
//! `machined` that the API reads. Set up once by `boot`, before anything is logged.
//!
//! Invariant: one event is one record of at most 960 bytes; logging never blocks and never fails. What strangers cause does
//! not get into the kernel log, whose ring they could push everything else out of.

use std::fmt::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sys::kmsg;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::logs::Log;

/// Libraries that tell more of every connection than anybody wants to know.
const CHATTY: [&str; 6] = ["h2", "hyper", "rustls", "tonic", "tower", "netlink"];

/// The target of events that strangers cause.
pub const STRANGER: &str = "stranger";

type Kernel = Box<dyn Fn(kmsg::Level, &[u8]) + Send + Sync>;

/// Where events go.
struct Sink {
    /// Writes a record; a function for tests.
    kernel: Option<Kernel>,
    ring: Arc<OnceLock<Arc<Log>>>,
}

/// Adds the log the API reads, once there is one.
#[derive(Clone, Debug)]
pub struct Ring(Arc<OnceLock<Arc<Log>>>);

impl Ring {
    /// From now on events go there too.
    pub fn attach(&self, log: Arc<Log>) {
        // A second one is not expected, and ignored.
        let _ = self.0.set(log);
    }
}

/// Starts to log. Without a kernel log (a test, a container) only the ring is written.
pub fn start() -> Ring {
    let sink = Sink { kernel: kernel(), ring: Arc::default() };
    let ring = Ring(sink.ring.clone());
    // Somebody logs already only in tests.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(sink));
    ring
}

fn kernel() -> Option<Kernel> {
    let log = Mutex::new(kmsg::Log::open().ok()?);
    Some(Box::new(move |level, text| {
        // The kernel is out of memory for its log: there is nobody to tell.
        let _ = log.lock().unwrap_or_else(PoisonError::into_inner).write(level, text);
    }))
}

impl<S: Subscriber> Layer<S> for Sink {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let chatty = CHATTY.iter().any(|name| metadata.target().starts_with(name));
        *metadata.level() <= if chatty { Level::WARN } else { Level::INFO }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Text::default();
        event.record(&mut line);
        let Text { message, fields } = line;
        let level = *event.metadata().level();
        if let Some(kernel) = self.kernel.as_ref().filter(|_| event.metadata().target() != STRANGER) {
            let urgency = match level {
                Level::ERROR => kmsg::Level::Error,
                Level::WARN => kmsg::Level::Warning,
                _ => kmsg::Level::Info,
            };
            kernel(urgency, format!("machined: {message}{fields}").as_bytes());
        }
        if let Some(ring) = self.ring.get() {
            let text = format!("{level:5} {message}{fields}").replace('\n', " ");
            // /run is full: the kernel log has it.
            let _ = ring.append(format!("{text}\n").as_bytes());
        }
    }
}

/// An event as text: the message, then ` name=value` for each field.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// What a client sent, short enough for a message: an error is sent back in headers, which nobody's limits count.
pub fn shown(sent: &str) -> String {
    sent.chars().take(64).collect()
}

/// A message of at most `max` bytes.
pub fn cut(mut message: String, max: usize) -> String {
    if message.len() > max {
        let mark = '…';
        let end = (0..=max.saturating_sub(mark.len_utf8())).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or(0));
        message.push(mark);
    }
    message
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    sys::Chain(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Logs, Start};

    #[tokio::test]
    async fn what_strangers_cause_is_told_to_readers_of_our_log_alone() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path(), "11111111");
        let records = Arc::new(Mutex::new(Vec::new()));
        let written = records.clone();
        let kernel = move |_, text: &[u8]| written.lock().unwrap().push(String::from_utf8(text.to_vec()).unwrap());
        let sink = Sink { kernel: Some(Box::new(kernel)), ring: Arc::default() };
        Ring(sink.ring.clone()).attach(logs.log("machined").unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(sink), || {
            tracing::warn!(target: STRANGER, left_out = 3, "call denied");
            tracing::warn!("a disk is gone");
        });
        assert_eq!(*records.lock().unwrap(), ["machined: a disk is gone"]);
        let mut reader = logs.open("machined", &Start::Oldest, false).unwrap();
        let lines = reader.next().await.unwrap().unwrap().lines;
        let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
        assert_eq!(lines, ["WARN  call denied left_out=3", "WARN  a disk is gone"]);
    }
}
