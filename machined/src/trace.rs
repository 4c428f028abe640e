//! machined's own log: to the kernel log (so that it survives machined, and errors reach the console) and to the log called
//! `machined` that the API reads. Set up once by `boot`, before anything is logged.
//!
//! Invariant: one event is one record of at most 960 bytes; logging never blocks and never fails.

use std::fmt::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sys::kmsg;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::logs::Log;

/// Libraries that tell more of every connection than anybody wants to know.
const CHATTY: [&str; 6] = ["h2", "hyper", "rustls", "tonic", "tower", "netlink"];

/// Where events go.
#[derive(Debug, Default)]
struct Sink {
    kernel: Option<Mutex<kmsg::Log>>,
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
    let sink = Sink { kernel: kmsg::Log::open().ok().map(Mutex::new), ring: Arc::default() };
    let ring = Ring(sink.ring.clone());
    // Somebody logs already only in tests.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(sink));
    ring
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
        if let Some(kernel) = &self.kernel {
            let urgency = match level {
                Level::ERROR => kmsg::Level::Error,
                Level::WARN => kmsg::Level::Warning,
                _ => kmsg::Level::Info,
            };
            let text = format!("machined: {message}{fields}");
            // The kernel is out of memory for its log: there is nobody to tell.
            let _ = kernel.lock().unwrap_or_else(PoisonError::into_inner).write(urgency, text.as_bytes());
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

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    sys::Chain(error).to_string()
}
