//! Parts into the folder: from one source after the other, each as long as it gets us further, going on after a cut where it
//! was.
//!
//! A part is known to be right only when it is whole. So when it is not, and some of it was from before or from elsewhere, the
//! same source gets another chance from the first byte; when all of it was from there, the next source gets it.

use std::time::Duration;

use config::image::Part;
use config::image::pull::{Check, Step};
use tokio::time::{Instant, sleep, timeout_at};

use super::failure::Failure;
use super::folder::{Folder, Partial};
use super::report::Report;
use super::source::{Blob, Source};

/// How often in a row a source may fail without giving a byte.
const TRIES: u32 = 5;
/// Before the second try; twice that before the next.
const PAUSE: Duration = Duration::from_millis(250);
/// Bytes in a second, below which a source counts as gone: a modem's tenth.
const SLOWEST: u64 = 512;

/// How far all is.
pub(super) struct Counted {
    /// Bytes of all parts that are there.
    pub(super) done: u64,
    pub(super) total: u64,
    /// Bytes that came.
    pub(super) fetched: u64,
}

/// Fetches parts.
pub(super) struct Fetch<'a, W> {
    pub(super) folder: &'a Folder,
    pub(super) sources: &'a mut [Source],
    /// The source that did well last: one that is gone is not waited for with every part.
    pub(super) first: usize,
    pub(super) report: &'a mut Report<W>,
    pub(super) stall: Duration,
    pub(super) counted: Counted,
}

/// How a source did.
enum Got {
    Whole,
    /// It is over too early, or this is what failed.
    Cut(Option<Failure>),
    /// The bytes are wrong; all of them are from this source.
    Lie,
    /// The bytes are wrong; some are from before.
    Mixed,
}

impl<W: std::io::Write> Fetch<'_, W> {
    /// One part, complete and durable.
    pub(super) async fn part(&mut self, part: &Part) -> Result<(), Failure> {
        let mut partial = self.folder.resume(part)?;
        if partial.len == part.size && partial.finish(part)? {
            return Ok(());
        }
        let mut failures = Vec::new();
        let first = self.first;
        for at in std::iter::once(first).chain((0..self.sources.len()).filter(|&at| at != first)) {
            match self.from(at, part, &mut partial).await {
                Ok(()) => {
                    self.first = at;
                    return Ok(());
                }
                // not the source's fault: the next one would not help
                Err(why) if matches!(why.check, Check::Folder | Check::Space | Check::Request) => return Err(why),
                Err(why) => failures.push((self.sources[at].name(), why)),
            }
        }
        let mut failure = Failure::of_all(failures);
        failure.message = format!("{}: {}", part.name, failure.message);
        Err(failure)
    }

    /// As much as one source gives.
    async fn from(&mut self, at: usize, part: &Part, partial: &mut Partial<'_>) -> Result<(), Failure> {
        let mut tries = 0;
        // whether what is there came from this source alone
        let mut own = partial.len == 0;
        loop {
            if partial.len >= part.size {
                self.restart(partial)?;
                own = true;
            }
            let before = self.counted.fetched;
            let failure = match self.once(at, part, partial, &mut own).await? {
                Got::Whole => return Ok(()),
                Got::Lie => {
                    let message = format!("{} was served with other bytes than its digest says", part.digest);
                    return Err(Failure::new(Check::Digest, message));
                }
                Got::Mixed => continue,
                Got::Cut(failure) => failure,
            };
            let gone = failure.as_ref().is_some_and(|why| !why.again);
            tries = if self.counted.fetched > before { 1 } else { tries + 1 };
            if gone || tries >= TRIES {
                let cut = || Failure::passing(Check::Unreachable, "it ends too early, again and again");
                return Err(failure.unwrap_or_else(cut));
            }
            sleep(PAUSE * 2u32.pow(tries - 1)).await;
        }
    }

    /// One connection.
    async fn once(
        &mut self,
        at: usize,
        part: &Part,
        partial: &mut Partial<'_>,
        own: &mut bool,
    ) -> Result<Got, Failure> {
        let (from, mut blob) = match self.sources[at].blob(&part.digest, partial.len).await {
            Ok(found) => found,
            Err(why) => return Ok(Got::Cut(Some(why))),
        };
        if from != partial.len {
            // a registry that cannot go on where it was
            self.restart(partial)?;
            *own = true;
        }
        let mut pace = Pace::new(self.stall);
        while partial.len < part.size {
            let chunk = match pace.next(&mut blob).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Got::Cut(None)),
                Err(why) => return Ok(Got::Cut(Some(why))),
            };
            // more than there should be cannot be right, and is not kept
            let room = usize::try_from(part.size - partial.len).unwrap_or(usize::MAX);
            let chunk = &chunk[..chunk.len().min(room)];
            partial.append(chunk)?;
            self.counted.fetched += chunk.len() as u64;
            self.counted.done += chunk.len() as u64;
            self.report.progress(Step::Fetch, Some(&part.name), self.counted.done, self.counted.total)?;
        }
        Ok(match (partial.finish(part)?, &own) {
            (true, _) => Got::Whole,
            (false, true) => {
                self.restart(partial)?;
                Got::Lie
            }
            (false, false) => Got::Mixed,
        })
    }

    fn restart(&mut self, partial: &mut Partial<'_>) -> Result<(), Failure> {
        self.counted.done = self.counted.done.saturating_sub(partial.len);
        partial.restart()
    }
}

/// Sees that it does not crawl: a server that gives a byte now and then would otherwise keep us for ever.
struct Pace {
    window: Duration,
    end: Instant,
    bytes: u64,
}

impl Pace {
    fn new(window: Duration) -> Self {
        Self { window, end: Instant::now() + window, bytes: 0 }
    }

    async fn next(&mut self, blob: &mut Blob) -> Result<Option<hyper::body::Bytes>, Failure> {
        loop {
            match timeout_at(self.end, blob.next()).await {
                Ok(chunk) => {
                    let chunk = chunk?;
                    self.bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                    return Ok(chunk);
                }
                Err(_) if self.bytes < SLOWEST * self.window.as_secs().max(1) => {
                    let message = format!("only {} bytes in {} s", self.bytes, self.window.as_secs());
                    return Err(Failure::passing(Check::Unreachable, message));
                }
                Err(_) => (self.end, self.bytes) = (Instant::now() + self.window, 0),
            }
        }
    }
}
