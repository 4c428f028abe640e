//! What a server sends behind its headers, chunk by chunk.

use std::time::Duration;

use config::image::pull::Check;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::chain;
use crate::oci::failure::Failure;

/// A body that is being read. Dropped, its connection ends.
pub(in crate::oci) struct Body {
    incoming: Incoming,
    _driver: JoinSet<hyper::Result<()>>,
    stall: Duration,
    from: String,
}

impl Body {
    pub(super) fn new(incoming: Incoming, driver: JoinSet<hyper::Result<()>>, stall: Duration, from: String) -> Self {
        Self { incoming, _driver: driver, stall, from }
    }

    /// The next chunk; none at the end. An end that comes too early is a failure, where the server said how long it is.
    pub(in crate::oci) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout(self.stall, self.incoming.frame()).await.map_err(|_| {
                let message = format!("{} sent nothing for {} s", self.from, self.stall.as_secs());
                Failure::passing(Check::Unreachable, message)
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Failure::passing(Check::Unreachable, format!("{} broke off: {}", self.from, chain(&error)))
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// All of it, when it is no more than this.
    pub(in crate::oci) async fn whole(&mut self, most: u64) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await? {
            if (all.len() + chunk.len()) as u64 > most {
                return Err(Failure::new(Check::Format, format!("{} sends more than {most} bytes", self.from)));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}
