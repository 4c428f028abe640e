//! NoCloud by a URL, which the firmware's serial number (SMBIOS) or the kernel's command line names: `ds=nocloud;s=URL`.
//!
//! Once somebody has named a URL, there is a configuration: a server that does not answer is waited for, then the machine
//! says so and goes on trying for ever. It never opens maintenance.

use std::path::PathBuf;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Again, Source};
use crate::platform::ds::{self, Ds};
use crate::platform::look::Look;
use crate::platform::{Finding, found};
use crate::resources::wait::For;

/// `30-nocloud-url`.
pub(super) struct Url {
    serial: PathBuf,
    command_line: PathBuf,
    again: Again,
}

impl Url {
    pub(super) fn new(serial: impl Into<PathBuf>, command_line: impl Into<PathBuf>) -> Self {
        Self { serial: serial.into(), command_line: command_line.into(), again: Again::default() }
    }

    /// The command line counts more: who can change it could do anything.
    fn named(&self) -> Option<(&'static str, Result<Ds, String>)> {
        let text = |file: &PathBuf| std::fs::read_to_string(file).unwrap_or_default();
        ds::of_command_line(&text(&self.command_line))
            .map(|ds| ("the kernel's command line", ds))
            .or_else(|| ds::of_serial(&text(&self.serial)).map(|ds| ("the firmware's serial number", ds)))
    }

    async fn fetch(&self, look: &Look, place: &str, ds: Ds) -> Finding {
        let seed = match look.fetch(&ds.url, For::ConfigUrl).await {
            Ok(seed) => seed,
            Err(why) => return Finding::Wrong { why: format!("named by {place}: {why}") },
        };
        let from = ds.url.split('?').next().unwrap_or_default();
        match seed.read(from, ds.hostname) {
            Err(error) => Finding::Wrong { why: format!("{from}: {error}") },
            read => found(read),
        }
    }
}

impl Source for Url {
    fn id(&self) -> &'static str {
        "30-nocloud-url"
    }

    fn name(&self) -> &'static str {
        "nocloud-url"
    }

    fn look<'a>(&'a mut self, look: &'a Look) -> BoxFuture<'a, Finding> {
        async move {
            let (place, ds) = match self.named() {
                None => {
                    let why =
                        "neither the firmware's serial number nor the kernel's command line says ds=nocloud;s=URL";
                    return Finding::Nothing { why: why.into() };
                }
                Some((place, Err(why))) => {
                    return Finding::Wrong { why: format!("{place} names a source that is not understood: {why}") };
                }
                Some((place, Ok(ds))) => (place, ds),
            };
            let finding = self.fetch(look, place, ds).await;
            self.again.wanted(matches!(finding, Finding::Wrong { .. }));
            finding
        }
        .boxed()
    }

    fn changed<'a>(&'a mut self, _: &'a Look) -> BoxFuture<'a, ()> {
        self.again.due().boxed()
    }
}
