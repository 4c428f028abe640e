//! The question for a change: all that goes along with documents, and what the node is then reached by.
//!
//! Invariant: of a node that is not configured only the state is read before its certificate and secrets are sent.

use std::time::Duration;

use api::v1::{
    self, ApplyMode, ApplyRequest, ApplyResponse, GetRequest, ReadRequest, RevertRequest, config_client::ConfigClient,
    resource_client::ResourceClient,
};
use tokio::time::{Instant, sleep};
use tonic::Code as Grpc;

use super::{Change, Options, first, print, status, status::Status, way_in};
use crate::{
    exit::{Failure, Result},
    node::{App, Node},
    source::Source,
    target::Target,
};

/// A node that has just started does not know for a while whether it is configured.
const LOOKING: Duration = Duration::from_secs(45);

/// For a node whose connection broke in the middle to be there again.
const BROKEN: Duration = Duration::from_secs(30);

/// Asks for the change. Where it was the first one, the target that is returned is how the node is reached afterwards.
pub(super) async fn ask(
    app: &App,
    target: &Target,
    change: &Change<'_>,
    options: &Options,
    (mode, confirm_within_s): (ApplyMode, u32),
) -> Result<(ApplyResponse, Target)> {
    let node = app.connect(target).await?;
    let mut client = ConfigClient::new(node.channel.clone());
    let (source, bundle, expected) = match change {
        Change::Revert(revision) => {
            let dry_run = options.when.dry_run;
            let request = RevertRequest {
                revision: *revision,
                mode: mode.into(),
                dry_run,
                confirm_within_s,
                force: options.when.force,
            };
            return Ok((client.revert(request).await?.into_inner(), target.clone()));
        }
        Change::Documents { source, secrets, expected } => (source, secrets, *expected),
    };
    let status = status(app, &node).await?;
    let first = status.as_ref().is_none_or(Status::is_unconfigured);
    let mut after = target.clone();
    let mut request = ApplyRequest {
        documents: source.text.clone(),
        secrets: first::secrets(source, *bundle, target, first)?,
        dry_run: options.when.dry_run,
        confirm_within_s,
        expected_revision: expected,
        message: options.message.clone(),
        force: options.when.force,
        ..ApplyRequest::default()
    };
    request.set_mode(mode);
    if first {
        after = first::reached_by(source, *bundle, target)?;
    }
    way_in::check(source, &after, mode)?;
    if first && !options.when.dry_run {
        request.node_certificate = first::certificate(&node, source, *bundle, target).await?;
        first::enlist(app, *bundle, target)?;
    }
    let answer = match client.apply(request).await {
        Ok(answer) => answer.into_inner(),
        Err(broken) if api::error::is_broken(&broken) && !options.when.dry_run && mode == ApplyMode::Auto => {
            let before = status.map_or(0, |status| status.revision());
            taken(app, &after, source, before).await.ok_or(broken)?
        }
        Err(refused) => return Err(refused.into()),
    };
    if !answer.problems.is_empty() {
        return Err(source.failures(answer.problems));
    }
    // After a dry run it is what it was.
    Ok((answer, if options.when.dry_run { target.clone() } else { after }))
}

/// The connection broke before the answer: whether the node has made a revision of these documents all the same, asked over the
/// path by which it is then reached.
async fn taken(app: &App, after: &Target, source: &Source, before: u64) -> Option<ApplyResponse> {
    app.ui.note(&format!("{}: the connection broke before the node had answered: looking what it has", after.name));
    let deadline = Instant::now() + BROKEN;
    while Instant::now() < deadline {
        if let Ok(channel) = after.connector().connect().await
            && let Ok(read) = ConfigClient::new(channel).read(ReadRequest { revision: 0 }).await
        {
            let v1::ReadResponse { revision, documents } = read.into_inner();
            let have = config::parse(&documents).ok()?.documents;
            let same = config::changes(&have, &source.documents).is_empty();
            let revision = revision?.id;
            return (same && revision > before).then(|| ApplyResponse { revision, ..ApplyResponse::default() });
        }
        sleep(Duration::from_secs(1)).await;
    }
    None
}

/// How its configuration is doing; none of a node whose version does not say. Waits while the node does not know.
async fn status(app: &App, node: &Node) -> Result<Option<Status>> {
    let deadline = Instant::now() + LOOKING;
    loop {
        let request = GetRequest { r#type: status::TYPE.into(), id: status::ID.into() };
        let object = match ResourceClient::new(node.channel.clone()).get(request).await {
            Ok(object) => object.into_inner(),
            Err(refused) if refused.code() == Grpc::NotFound => return Ok(None),
            Err(refused) => return Err(refused.into()),
        };
        let status = status::parse(&object)?;
        if !status.is_looking() || Instant::now() >= deadline {
            return Ok(Some(status));
        }
        app.ui.note(&format!("{}: {}", node.name, status.reason));
        sleep(Duration::from_secs(2)).await;
    }
}

/// The lines that would change.
pub(super) async fn diff(app: &App, target: &Target, change: &Change<'_>) -> Result<String> {
    let mut client = ConfigClient::new(app.connect(target).await?.channel);
    let mut read = async |revision| match client.read(ReadRequest { revision }).await {
        Ok(read) => Ok(read.into_inner().documents),
        // In maintenance there is nothing to read.
        Err(status) if matches!(status.code(), Grpc::FailedPrecondition | Grpc::PermissionDenied | Grpc::NotFound) => {
            Ok(String::new())
        }
        Err(status) => Err(Failure::from(status)),
    };
    let before = read(0).await?;
    Ok(match change {
        Change::Documents { source, .. } => print::diff(&before, &source.text, ("current", "new")),
        Change::Revert(0) => String::new(),
        Change::Revert(to) => print::diff(&before, &read(*to).await?, ("current", "new")),
    })
}
