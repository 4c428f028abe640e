//! `installer pull`: the whole way from a request to verified files.
//!
//! ```text
//! resolve   index, signature, manifest, Stele manifest: small, verified one by the other
//! fits      floor, minimum, architecture, documents, formats, size     nothing large was fetched so far
//! room      in the folder
//! fetch     part by part, resumed, each by its digest
//! check     programs are whole
//! ```

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use config::image::Part;
use config::image::pull::{Check, File, Line, Pulled, Request, Step};

use super::failure::Failure;
use super::fetch::{Counted, Fetch};
use super::folder::Folder;
use super::key::Public;
use super::report::Report;
use super::{fits, resolve, source};
use crate::whole;

/// A request has some kilobytes, most of them certificates.
const LARGEST: u64 = 1 << 20;

/// Reads the request, does it, tells how it ended; whether all went well. Nothing else is written to `output`.
pub fn run(input: impl Read, output: impl Write) -> bool {
    let mut report = Report::new(output);
    let done = request(input).and_then(|request| within(&request, &mut report));
    let (well, line) = match done {
        Ok(pulled) => (true, Line::Pulled(Box::new(pulled))),
        Err(failure) => (false, Line::Refused(failure.refusal())),
    };
    report.line(&line).is_ok() && well
}

fn request(input: impl Read) -> Result<Request, Failure> {
    let wrong = |why: String| Failure::new(Check::Request, format!("the request cannot be read: {why}"));
    let mut text = zeroize::Zeroizing::new(Vec::new());
    input.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(wrong(format!("it has more than {LARGEST} bytes")));
    }
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}

fn within(request: &Request, report: &mut Report<impl Write>) -> Result<Pulled, Failure> {
    let failed = |error: std::io::Error| Failure::passing(Check::Request, format!("cannot start: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let limit = Duration::from_secs(request.limits.seconds);
    let done = runtime.block_on(async { tokio::time::timeout(limit, pull(request, report)).await });
    // a name that is being looked up would keep us
    runtime.shutdown_background();
    let late = || format!("it took more than the {} s that are allowed", request.limits.seconds);
    done.unwrap_or_else(|_| Err(Failure::passing(Check::Time, late())))
}

async fn pull(request: &Request, report: &mut Report<impl Write>) -> Result<Pulled, Failure> {
    let started = Instant::now();
    let stall = Duration::from_secs(request.limits.stall.max(1));
    let keys = keys(request)?;
    let mut sources = source::all(&request.image, &request.endpoints, stall)?;
    let folder = Folder::open(Path::new(&request.folder))?;

    report.progress(Step::Resolve, None, 0, 0)?;
    let found =
        resolve::resolve(&request.image, &mut sources, &keys, request.verify, &request.node.architecture).await?;
    if let Some(warning) = found.warning {
        report.warning(warning)?;
    }
    fits::node(&found.manifest, &request.node, &request.limits)?;

    let parts: Vec<&Part> = found.manifest.parts.iter().filter(|part| !request.have.contains(&part.digest)).collect();
    folder.clean(&parts)?;
    folder.room(&parts, request.free)?;
    let kept: u64 = parts.iter().map(|part| folder.there(part)).sum();
    let counted = Counted { done: kept, total: parts.iter().map(|part| part.size).sum(), fetched: 0 };
    let mut fetch = Fetch { folder: &folder, sources: &mut sources, first: found.source, report, stall, counted };
    for part in &parts {
        fetch.report.progress(Step::Fetch, Some(&part.name), fetch.counted.done, fetch.counted.total)?;
        if !folder.complete(part)? {
            fetch.part(part).await?;
        }
    }
    let Counted { total, fetched, .. } = fetch.counted;
    let fetch_ms = millis(started);

    let started = Instant::now();
    for part in &parts {
        report.progress(Step::Check, Some(&part.name), total, total)?;
        whole::check(&part.name, &folder.file(part))
            .map_err(|why| Failure::new(Check::Program, format!("{}: {why}", part.name)))?;
    }
    let file = |part: &&Part| File {
        name: part.name.clone(),
        path: folder.file(part).display().to_string(),
        digest: part.digest.clone(),
        size: part.size,
    };
    let files = parts.iter().map(file).collect();
    Ok(Pulled {
        digest: found.digest,
        manifest: found.manifest,
        signed_by: found.signed_by,
        endpoint: found.endpoint,
        files,
        fetched,
        kept: total.saturating_sub(fetched),
        fetch_ms,
        check_ms: millis(started),
    })
}

fn keys(request: &Request) -> Result<Vec<Public>, Failure> {
    let read = |key| {
        Public::parse(key).ok_or_else(|| {
            let message = format!("the key {} is no ECDSA P-256 public key in PEM (BEGIN PUBLIC KEY)", key.name);
            Failure::new(Check::Request, message).remedy("name another key in `kind: ImagePolicy`")
        })
    };
    request.keys.iter().map(read).collect()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
