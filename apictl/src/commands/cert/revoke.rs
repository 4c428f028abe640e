//! `apictl cert revoke`: a certificate is let in no more.

use std::path::Path;

use api::{fingerprint::Fingerprint, pki::Certificate};
use config::kinds::Api;
use serde_json::json;

use crate::{
    apply::{self, Options},
    exit::{Failure, Result},
    identity,
    node::App,
};

/// Let a certificate in no more: puts it under `revoked` in the document Api of the nodes
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl cert revoke 5f3a...\n  apictl cert revoke alice.pem --message 'left the company'\n\n\
    Connections made with it end at once. Fingerprints: apictl cert show, and the audit of the nodes."
)]
pub(crate) struct Args {
    /// Its SHA-256 fingerprint, or a file that holds it
    #[arg(value_name = "FINGERPRINT|FILE", required = true)]
    which: Vec<String>,
    #[command(flatten)]
    options: Options,
}

pub(super) async fn run(app: &App, args: Args) -> Result {
    let prints = args.which.iter().map(|text| fingerprint(text)).collect::<Result<Vec<_>>>()?;
    apply::modify(app, None, &args.options, |documents| revoked(documents, &prints)).await
}

/// The documents with these revoked; none when they are.
fn revoked(documents: &str, prints: &[Fingerprint]) -> Result<Option<String>> {
    let stream = config::parse(documents).map_err(|problems| Failure::usage(problems.to_string(), ""))?;
    let (_, api) = stream
        .documents
        .of::<Api>()
        .next()
        .ok_or_else(|| Failure::usage("the node has no document Api", "apictl config get"))?;
    let known: Vec<String> = api.revoked().collect();
    let new: Vec<String> = prints.iter().map(ToString::to_string).filter(|print| !known.contains(print)).collect();
    if new.is_empty() {
        return Ok(None);
    }
    let all: Vec<&String> = api.revoked.iter().chain(&new).collect();
    let operations = json!([{ "op": "add", "path": "/revoked", "value": all }]).to_string();
    config::patch::json(documents, "Api", &operations).map(Some).map_err(|error| Failure::usage(error.to_string(), ""))
}

fn fingerprint(text: &str) -> Result<Fingerprint> {
    let wrong = match text.parse() {
        Ok(print) => return Ok(print),
        Err(wrong) => wrong,
    };
    let path = Path::new(text);
    if !path.exists() {
        return Err(Failure::usage(format!("{text:?} is no file and no fingerprint: {wrong}"), ""));
    }
    let (certificates, _key) = identity::split(&identity::read(path)?);
    let chain = Certificate::chain(&certificates).map_err(|error| Failure::usage(format!("{text}: {error}"), ""))?;
    chain
        .first()
        .map(Certificate::fingerprint)
        .ok_or_else(|| Failure::usage(format!("{text} holds no certificate"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_added_once() {
        let ca = api::pki::Ca::make("a").unwrap().certificate().pem().replace('\n', "\n    ");
        let text = format!("# who\napiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n    {ca}\n");
        let print: Fingerprint = "ab".repeat(32).parse().unwrap();
        let once = revoked(&text, &[print]).unwrap().unwrap();
        assert!(once.starts_with("# who\n") && once.contains(&"ab".repeat(32)), "{once}");
        assert!(revoked(&once, &[print]).unwrap().is_none());
        let other: Fingerprint = "cd".repeat(32).parse().unwrap();
        let twice = revoked(&once, &[print, other]).unwrap().unwrap();
        let stream = config::parse(&twice).unwrap();
        assert_eq!(stream.documents.of::<Api>().next().unwrap().1.revoked.len(), 2);
    }
}
