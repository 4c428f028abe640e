//! The sources, one small file each, in the order in which they are looked at.
//!
//! A new one: a file here with a type that is [`Source`], and a line in [`all`].

mod image;
mod nocloud;
mod url;
mod volume;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::future::BoxFuture;

use super::Finding;
use super::look::Look;

/// A place where a configuration may be.
pub(super) trait Source: Send {
    /// Its id in `config-source`: the order, and the name.
    fn id(&self) -> &'static str;
    /// What consoles call it.
    fn name(&self) -> &'static str;
    /// What it holds. Takes as long as it takes to be sure, and shows as a wait what it waits for. Cancel-safe.
    fn look<'a>(&'a mut self, look: &'a Look) -> BoxFuture<'a, Finding>;
    /// Returns when another look may find something else. Cancel-safe.
    fn changed<'a>(&'a mut self, look: &'a Look) -> BoxFuture<'a, ()>;
}

/// When to look again at what was wrong and may become right by itself: a server, a disk that did not answer.
#[derive(Default)]
struct Again(Option<ExponentialBackoff>);

impl Again {
    /// After a server that is being set up, and what a person who has repaired it will still wait for.
    const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

    fn wanted(&mut self, wanted: bool) {
        let times = ExponentialBuilder::default().with_min_delay(Self::PAUSES.0).with_max_delay(Self::PAUSES.1);
        match (wanted, &self.0) {
            (true, None) => self.0 = Some(times.with_jitter().without_max_times().build()),
            (true, Some(_)) => {}
            (false, _) => self.0 = None,
        }
    }

    /// Never, when there is nothing to try again.
    async fn due(&mut self) {
        match self.0.as_mut().and_then(Iterator::next) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
    }
}

/// By these files.
#[cfg(test)]
pub(super) fn url(serial: &std::path::Path, command_line: &std::path::Path) -> impl Source {
    url::Url::new(serial, command_line)
}

/// All of them.
pub(super) fn all() -> Vec<Box<dyn Source>> {
    vec![
        Box::new(image::Image { file: image::FILE.into() }),
        Box::new(nocloud::NoCloud::default()),
        Box::new(url::Url::new("/sys/class/dmi/id/product_serial", "/proc/cmdline")),
    ]
}
