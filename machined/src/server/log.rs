//! The service Log: what services and the kernel said.
//!
//! Invariant: one chunk at a time is in memory for each reader; who reads slowly skips, and is told how much.

use futures_util::{StreamExt, stream, stream::BoxStream};
use tonic::{Request, Response, Status};

use super::error::Error;
use crate::logs::{self, Logs, Reader, Start};
use api::v1::{self, log_server::Log};

/// Serves the logs.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    logs: Logs,
}

impl Journal {
    /// Over these logs.
    pub(super) fn new(logs: Logs) -> Self {
        Self { logs }
    }
}

/// What the lines have and what losses are counted in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Service,
    Kernel,
}

type Chunks = BoxStream<'static, Result<v1::LogChunk, Status>>;

#[tonic::async_trait]
impl Log for Journal {
    type ServiceStream = Chunks;

    async fn service(&self, request: Request<v1::ServiceLogRequest>) -> Result<Response<Chunks>, Status> {
        let v1::ServiceLogRequest { service, follow, tail, cursor } = request.into_inner();
        let start = start(tail, cursor);
        let reader = self.logs.open(&service, &start, follow).map_err(Error::from)?;
        Ok(Response::new(chunks(reader, &start, follow, Source::Service)))
    }

    type KernelStream = Chunks;

    async fn kernel(&self, request: Request<v1::KernelLogRequest>) -> Result<Response<Chunks>, Status> {
        let v1::KernelLogRequest { follow, tail, cursor } = request.into_inner();
        let start = start(tail, cursor);
        let reader = self.logs.kernel(&start, follow).map_err(Error::from)?;
        Ok(Response::new(chunks(reader, &start, follow, Source::Kernel)))
    }
}

fn start(tail: Option<u32>, cursor: String) -> Start {
    match tail {
        _ if !cursor.is_empty() => Start::Cursor(cursor),
        Some(lines) => Start::Tail(lines),
        None => Start::Oldest,
    }
}

/// Ends with the log, or after its first error. A follower that begins at the end first hears where that is.
fn chunks(reader: Reader, start: &Start, follow: bool, source: Source) -> Chunks {
    let place = (follow && matches!(start, Start::Tail(_)))
        .then(|| logs::Chunk { cursor: reader.cursor(), ..Default::default() });
    let first = stream::iter(place.map(|chunk| Ok(message(chunk, source))));
    let rest = stream::unfold(Some(reader), move |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(chunk) => chunk.map(|chunk| (Ok(message(chunk, source)), Some(reader))),
            Err(error) => Some((Err(Error::from(error).into()), None)),
        }
    });
    first.chain(rest).boxed()
}

fn message(chunk: logs::Chunk, source: Source) -> v1::LogChunk {
    let is_kernel = source == Source::Kernel;
    let line = |line: logs::Line| v1::LogLine {
        text: line.text,
        time_unix_ns: line.time_unix_ns,
        priority: is_kernel.then(|| line.priority.into()),
        partial: line.partial,
    };
    let (dropped_bytes, dropped_records) = if is_kernel { (0, chunk.dropped) } else { (chunk.dropped, 0) };
    let lines = chunk.lines.into_iter().map(line).collect();
    v1::LogChunk { lines, cursor: chunk.cursor, dropped_bytes, dropped_records }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(journal: &Journal, tail: Option<u32>, cursor: &str) -> Chunks {
        let request = v1::ServiceLogRequest { service: "gateway".into(), follow: true, tail, cursor: cursor.into() };
        journal.service(Request::new(request)).await.unwrap().into_inner()
    }

    #[tokio::test]
    async fn who_follows_from_the_end_has_a_cursor_before_the_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path(), "11111111");
        let log = logs.log("gateway").unwrap();
        log.append(b"old\nlast\n").unwrap();
        let journal = Journal::new(logs);
        let mut places = Vec::new();
        for tail in [0, 1] {
            let place = open(&journal, Some(tail), "").await.next().await.unwrap().unwrap();
            assert!(place.lines.is_empty(), "{place:?}");
            places.push(place.cursor);
        }
        // Both connections are lost; only then comes a line.
        log.append(b"new\n").unwrap();
        for (place, expected) in places.iter().zip([&["new"][..], &["last", "new"]]) {
            let chunk = open(&journal, Some(0), place).await.next().await.unwrap().unwrap();
            let lines: Vec<_> = chunk.lines.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
            assert_eq!(lines, expected);
        }
    }
}
