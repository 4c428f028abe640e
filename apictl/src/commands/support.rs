//! `apictl support`: one archive with all that a maintainer needs, and no secret.
//!
//! Invariant: what cannot be had is named in `missing.txt` and keeps nothing else out; the archive is complete or not there.

mod archive;
mod blank;
mod parts;

use std::path::PathBuf;

use futures_util::future::join_all;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    cli::Output,
    exit::{Code, Failure, Result},
    node::App,
};

/// Collect everything a maintainer needs into one archive: no secret is in it
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl support\n  apictl support -n 10.0.0.1,10.0.0.2 -o lab.tar.gz\n\n\
    In it, for each node: all resources, the logs of services and of the kernel, the controllers, the documents of every \
    revision that is kept, the last of the audit and the versions. Private keys are blanked out should a log or a \
    document hold one. Read it before you give it away: it names your machines, networks and operators.")]
pub(crate) struct Args {}

pub(crate) async fn run(app: &App, _: Args) -> Result {
    let place = match &app.global.output {
        None => named(Timestamp::now()),
        Some(Output::Place(place)) => place.clone(),
        Some(Output::Format(_)) => {
            return Err(Failure::usage("the archive has one format, tar.gz", "give a file: -o FILE.tar.gz"));
        }
    };
    // Not `ask`: each part has a time of its own.
    let targets = app.targets()?;
    let one = async |target| {
        let node = app.limited(app.connect(target)).await??;
        Ok::<_, Failure>((node.name.clone(), parts::collect(&node).await))
    };
    let all = app.ui.slow("collecting", join_all(targets.iter().map(one))).await;
    let (mut nodes, mut failed) = (Vec::new(), Vec::new());
    for (target, answer) in targets.iter().zip(all) {
        match answer {
            Ok(node) => nodes.push(node),
            Err(failure) => failed.push(failure.at(&target.name)),
        }
    }
    if !nodes.is_empty() {
        let top = place.file_name().unwrap_or_default().to_string_lossy();
        let top = top.trim_end_matches(".gz").trim_end_matches(".tar").trim_end_matches(".tgz");
        let bytes = archive::build(top, &nodes).map_err(|error| write_failed(&place, &error))?;
        archive::save(&place, &bytes).map_err(|error| write_failed(&place, &error))?;
        let missing: usize = nodes.iter().map(|(_, parts)| parts.missing.len()).sum();
        let more = if missing == 0 {
            String::new()
        } else {
            format!("; {missing} parts could not be had: see missing.txt in it")
        };
        app.ui.note(&format!("wrote {} ({} KiB){more}", place.display(), bytes.len().div_ceil(1024)));
    }
    Failure::all(failed)
}

fn named(now: Timestamp) -> PathBuf {
    format!("stele-support-{}.tar.gz", now.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S")).into()
}

fn write_failed(place: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("cannot write {}: {error}", place.display()), "give another file by -o")
}
