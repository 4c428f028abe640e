//! Changes that begin with what a node has: its current documents, edited as text.
//!
//! Invariant: the revision that was read goes along, so that what somebody else changed meanwhile is not overwritten.

use api::v1::{ReadRequest, ReadResponse, config_client::ConfigClient};
use tonic::transport::Channel;

use super::{Change, Options, run};
use crate::{
    bundle::Bundle,
    exit::{Code, Failure, Result},
    node::App,
    source::{File, Source},
};

/// Reads the documents of every node, edits them, and applies what differs; `edit` gives none where nothing is to be done.
pub(crate) async fn modify(
    app: &App,
    bundle: Option<&Bundle>,
    options: &Options,
    edit: impl Fn(&str) -> Result<Option<String>>,
) -> Result {
    let mut answers = app.ask(async |node| read(&node.channel).await).await?;
    let targets = app.targets()?;
    let mut changed = Vec::new();
    for (node, current) in &answers.good {
        let edited = edit(&current.documents).map_err(|failure| failure.at(&node.name))?;
        let Some(text) = edited.filter(|text| *text != current.documents) else {
            app.ui.note(&format!("{}: it is like that already: nothing was sent", node.name));
            continue;
        };
        let source = source(text).map_err(|failure| failure.at(&node.name))?;
        let target = targets.iter().find(|target| target.name == node.name);
        changed.extend(target.map(|target| (target.clone(), source, id(current))));
    }
    let job = |(target, source, expected)| (target, Change::Documents { source, secrets: bundle, expected });
    let jobs: Vec<_> = changed.iter().map(|(target, source, id)| job((target.clone(), source, *id))).collect();
    if !jobs.is_empty()
        && let Err(failure) = run(app, &jobs, options).await
    {
        answers.failed.push(failure);
    }
    answers.end()
}

/// The current documents.
pub(crate) async fn read(channel: &Channel) -> Result<ReadResponse> {
    let read = ConfigClient::new(channel.clone()).read(ReadRequest { revision: 0 }).await?.into_inner();
    if read.documents.is_empty() {
        let remedy = "give it a first configuration: apictl apply-config -f FILE --secrets FILE";
        return Err(Failure::new(Code::Refused, "the node has no documents", remedy));
    }
    Ok(read)
}

/// Which revision was read.
pub(crate) fn id(read: &ReadResponse) -> u64 {
    read.revision.as_ref().map_or(0, |revision| revision.id)
}

/// Edited documents, checked.
pub(crate) fn source(text: String) -> Result<Source> {
    Source::of(vec![File { name: "<patched>".into(), text }])
}
