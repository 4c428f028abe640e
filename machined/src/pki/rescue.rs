//! The rescue authority: what it signs is let in whatever the documents say, for a day at most.

use std::path::Path;

use api::pki::Certificate;

use crate::trace::chain;

/// One that is kept somewhere, as PEM; what cannot be parsed lets nobody in, and is said.
pub fn parse(pem: &str) -> Option<Certificate> {
    Certificate::parse(pem).inspect_err(|error| tracing::error!("the rescue authority: {}", chain(error))).ok()
}

/// The one that is built into the image, if there is one.
pub fn of_image(path: &Path) -> Option<Certificate> {
    parse(&std::fs::read_to_string(path).ok()?)
}
