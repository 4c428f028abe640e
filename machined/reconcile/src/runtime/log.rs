//! A controller's log lines, with the controller's name as their target, so that one controller's can be picked out.
//!
//! `tracing`'s macros want the target at compile time, once per call; here it is known once per controller. So the
//! metadata are made by hand, as bridges from other logging systems do, and live as long as the program: two small
//! values for each controller.

use std::fmt::Arguments;
use std::time::Duration;

use tracing::callsite::{Callsite, Identifier};
use tracing::field::{FieldSet, Value};
use tracing::metadata::{Kind, LevelFilter};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, dispatcher};

/// What gives the field names their identity; never registered, because each line asks the subscriber anew.
struct Site;

static SITE: Site = Site;
static SITE_METADATA: Metadata<'static> = metadata("reconcile", Level::INFO);

impl Callsite for Site {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        &SITE_METADATA
    }
}

const fn metadata(target: &'static str, level: Level) -> Metadata<'static> {
    let fields = FieldSet::new(&["message"], Identifier(&SITE));
    Metadata::new("controller", target, level, None, None, None, fields, Kind::EVENT)
}

/// The log of one controller.
pub(super) struct Log {
    error: &'static Metadata<'static>,
    info: &'static Metadata<'static>,
}

impl Log {
    pub(super) fn new(controller: &'static str) -> Self {
        let leak = |level| &*Box::leak(Box::new(metadata(controller, level)));
        Self { error: leak(Level::ERROR), info: leak(Level::INFO) }
    }

    pub(super) fn failed(&self, error: &str, delay: Duration) {
        write(self.error, &format_args!("failed, next try in {delay:.1?}: {error}"));
    }

    pub(super) fn slowed(&self) {
        write(self.error, &format_args!("wants to run without end, and is slowed down: a bug (see Controller::wake)"));
    }

    pub(super) fn recovered(&self, failures: u64) {
        let s = if failures == 1 { "" } else { "s" };
        write(self.info, &format_args!("works again after {failures} failure{s}"));
    }
}

fn write(metadata: &'static Metadata<'static>, message: &Arguments<'_>) {
    if *metadata.level() > LevelFilter::current() {
        return;
    }
    dispatcher::get_default(|dispatch| {
        let fields = metadata.fields();
        if let Some(field) = fields.field("message").filter(|_| dispatch.enabled(metadata)) {
            let values = [(&field, Some(message as &dyn Value))];
            dispatch.event(&Event::new(metadata, &fields.value_set(&values)));
        }
    });
}
