//! A controller's log lines, with the controller's name as their target.

use std::time::Duration;

pub(super) struct Log {
    controller: &'static str,
}

impl Log {
    pub(super) fn new(controller: &'static str) -> Self {
        Self { controller }
    }

    pub(super) fn failed(&self, error: &str, delay: Duration) {
        tracing::error!(controller = self.controller, "failed, next try in {delay:.1?}: {error}");
    }

    pub(super) fn recovered(&self, failures: u64) {
        tracing::info!(controller = self.controller, "works again after {failures} failures");
    }
}
