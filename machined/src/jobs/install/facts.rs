//! What the new disk's META says from the start: that it was installed, and by which identity its API is known. So whoever installed
//! it knows whom to trust after the reboot, and `apictl jobs` there tells of the install.

use config::image::pull::Pulled;
use serde_json::Value;

use super::medium::Sources;
use super::{Failed, Job};
use crate::jobs::record::{Install, Kept, Request};
use crate::meta;
use crate::pki::{Identity, keep};
use crate::resources::disk::Disk;
use crate::resources::job::Phase;
use crate::trace::chain;

/// What is written, and what the job says of it.
pub(super) struct Facts {
    pub(super) record: Value,
    pub(super) outcome: String,
}

/// For this disk. The medium may install many machines: nothing that names this one is taken along but the job.
pub(super) fn facts(job: &Job, sources: &Sources, pulled: Option<&Pulled>, disk: &Disk) -> Result<Facts, Failed> {
    let identity = Identity::make().map_err(|error| Failed::because(chain(&error), "begin again"))?;
    let name = disk.device.rsplit('/').next().unwrap_or_default();
    let what = [disk.model.as_str(), disk.serial.as_str()].into_iter().find(|word| !word.is_empty());
    let what = what.map(|what| format!(" ({what})")).unwrap_or_default();
    let version = pulled.map_or("what runs here".to_owned(), |pulled| format!("version {}", pulled.manifest.version));
    let fingerprint = identity.fingerprint_hex();
    let outcome = format!(
        "{version} is on {name}{what}, and the machine starts from there; its API then has the fingerprint {fingerprint}"
    );
    job.promise(&fingerprint);
    let mut done = job.record();
    done.end(Phase::Done, &outcome, "", crate::clock::now_unix_ms());
    let kept = Kept { last: done.id, jobs: vec![done] };
    let mut record =
        meta::Record { identity: Some(keep::format(&identity)), jobs: Some(kept.value()), ..Default::default() };
    if let Request::Install(Install { document, .. }) = job.request() {
        record.installed = Some(document).filter(|document| !document.is_empty());
    }
    if let Some(pulled) = pulled {
        let manifest = &pulled.manifest;
        record.versions.insert(sources.uki.digest.hex().to_owned(), manifest.version.to_string());
        record.floor = Some(manifest.floor.to_string());
    }
    let record = serde_json::to_value(record).unwrap_or_default();
    Ok(Facts { record, outcome })
}
