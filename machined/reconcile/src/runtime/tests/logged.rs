//! What of a controller's failures reaches the log.

use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{value:?}");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("test/")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(format!("{} {} ", event.metadata().level(), event.metadata().target()));
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn an_error_is_logged_when_it_changes() {
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let rig = Rig::new([Do::Fail("no"), Do::Fail("no"), Do::Fail("other"), Do::Fail("no"), Do::Fail("no")]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.status().state, State::Idle);
    let lines = lines.0.lock().unwrap().clone();
    let heads: Vec<_> =
        lines.iter().map(|line| line.split_once(", next try in ").map_or(&**line, |(a, _)| a)).collect();
    let failed = "ERROR test/copier failed";
    assert_eq!(heads, [failed, failed, failed, "INFO test/copier works again after 5 failures"], "{lines:?}");
    assert!(lines[0].ends_with(": no") && lines[1].ends_with(": other") && lines[2].ends_with(": no"), "{lines:?}");
}
