//! Logs as subjects of `follow`: the cursor of the last chunk continues where the last stream stopped.

use std::collections::VecDeque;

use tonic::{Status, Streaming, transport::Channel};

use crate::{
    follow::Subject,
    v1::{KernelLogRequest, LogChunk, ServiceLogRequest, log_client::LogClient},
};

/// Which log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Of a service.
    Service(String),
    /// The kernel's ring.
    Kernel,
}

/// A log, from its tail on.
#[derive(Clone, Debug)]
pub struct Log {
    source: Source,
    follow: bool,
    tail: Option<u32>,
    cursor: String,
}

impl Log {
    /// A log with at most `tail` lines of what there is already; with `follow` also what comes.
    pub fn new(source: Source, follow: bool, tail: Option<u32>) -> Self {
        Self { source, follow, tail, cursor: String::new() }
    }

    /// Where it stands, for a request.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }
}

impl Subject for Log {
    type Message = LogChunk;
    type Item = LogChunk;

    async fn open(&mut self, channel: Channel) -> Result<Streaming<LogChunk>, Status> {
        let (follow, tail, cursor) = (self.follow, self.tail, self.cursor.clone());
        let mut client = LogClient::new(channel);
        let stream = match &self.source {
            Source::Service(service) => {
                client.service(ServiceLogRequest { service: service.clone(), follow, tail, cursor }).await?
            }
            Source::Kernel => client.kernel(KernelLogRequest { follow, tail, cursor }).await?,
        };
        Ok(stream.into_inner())
    }

    fn is_endless(&self) -> bool {
        self.follow
    }

    fn take(&mut self, chunk: LogChunk, out: &mut VecDeque<LogChunk>) {
        if !chunk.cursor.is_empty() {
            self.cursor.clone_from(&chunk.cursor);
        }
        out.push_back(chunk);
    }
}
