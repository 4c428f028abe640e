//! The configuration that was built into the image (`imager build --config`): for machines that are all alike.

use std::io::{self, Read};
use std::path::PathBuf;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use zeroize::Zeroizing;

use super::Source;
use crate::platform::decode::RAW;
use crate::platform::look::Look;
use crate::platform::seed::Seed;
use crate::platform::{Finding, found};

/// Where it lies.
pub(super) const FILE: &str = "/usr/lib/stele/config.yaml";

/// `10-image`.
pub(super) struct Image {
    pub(super) file: PathBuf,
}

impl Source for Image {
    fn id(&self) -> &'static str {
        "10-image"
    }

    fn name(&self) -> &'static str {
        "image"
    }

    fn look<'a>(&'a mut self, _: &'a Look) -> BoxFuture<'a, Finding> {
        async move {
            let mut bytes = Zeroizing::new(Vec::new());
            // A page of memory, as all of the image: no disk is waited for.
            let read =
                std::fs::File::open(&self.file).and_then(|file| file.take(RAW as u64 + 1).read_to_end(&mut bytes));
            match read {
                Ok(_) => {
                    let seed = Seed { user_data: Some(bytes), ..Seed::default() };
                    found(seed.read("the image", None))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Finding::Nothing { why: "none was built into the image".into() }
                }
                Err(error) => Finding::Wrong { why: format!("cannot read {}: {error}", self.file.display()) },
            }
        }
        .boxed()
    }

    /// The image stays as it is.
    fn changed<'a>(&'a mut self, _: &'a Look) -> BoxFuture<'a, ()> {
        pending().boxed()
    }
}
