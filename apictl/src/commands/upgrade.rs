//! `apictl upgrade`: another version on nodes, one after the other, until one does not come back proven.

use std::{cell::RefCell, io::stdout, time::Duration};

use api::v1::{ConfirmUpgradeRequest, UpgradeRequest, machine_client::MachineClient};
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    job,
    node::{App, CALL_TIMEOUT},
    objects,
    target::Target,
};

/// Put another version on nodes: pulled, checked, started on trial, and kept once it is proven
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl upgrade --image registry.example.com/stele/installer:0.2.0 -n 10.0.0.1,10.0.0.2\n\n\
    The nodes do it by themselves: leave at any time, and look again with `apictl jobs`. A version that is not proven goes by \
    itself, and the node comes back on what it ran before."
)]
pub(crate) struct Args {
    /// The installer image: HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]
    #[arg(long, value_name = "REF", required_unless_present = "confirm")]
    image: Option<config::image::Reference>,
    /// Say that the version on trial is well, where a document Gate asks for that
    #[arg(long, conflicts_with_all = ["image", "allow_downgrade", "retry_failed", "no_wait", "parallel"])]
    confirm: bool,
    /// Also below the version floor of what runs
    #[arg(long)]
    allow_downgrade: bool,
    /// Also an image that was tried on the node before and not proven
    #[arg(long)]
    retry_failed: bool,
    /// Return once the nodes have accepted
    #[arg(long)]
    no_wait: bool,
    /// How many nodes at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
}

/// A pull over a slow line, firmware that takes minutes, gates with a deadline of their own.
const WITHIN: Duration = Duration::from_secs(3600);

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let Some(image) = args.image.as_ref().map(ToString::to_string) else { return confirm(app).await };
    let targets = app.targets()?;
    if targets.len() > 1 && app.global.nodes.is_empty() && app.global.endpoints.is_empty() {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let message = format!("{} nodes are meant, none was named", names.len());
        return Err(Failure::usage(message, format!("name those to upgrade, in their order: -n {}", names.join(","))));
    }
    let format = format(app, &[Format::Table, Format::Json, Format::Yaml])?;
    // Nobody would see that one did not come back, and the next ones would begin all the same.
    if args.no_wait && targets.len() > usize::from(args.parallel) {
        let (all, parallel) = (targets.len(), args.parallel);
        let message = format!("--no-wait begins all {all} nodes at the same time, and --parallel is {parallel}");
        return Err(Failure::usage(message, format!("leave --no-wait out, or say --parallel {all}")));
    }
    let begun = RefCell::new(Vec::new());
    let mut waiting = targets.iter();
    let mut running = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        // After the first that fails nothing further is begun; what is under way is watched to its end.
        while failed.is_empty() && running.len() < usize::from(args.parallel) {
            let Some(target) = waiting.next() else { break };
            let (args, image, begun) = (&args, &image, &begun);
            running.push(async move {
                upgrade(app, args, image, target, begun).await.map_err(|failure| failure.at(&target.name))
            });
        }
        match running.next().await {
            Some(Ok(())) => {}
            Some(Err(failure)) => failed.push(failure),
            None => break,
        }
    }
    let left: Vec<&str> = waiting.map(|target| target.name.as_str()).collect();
    if !left.is_empty() {
        app.ui.note(&format!("not begun: {}", left.join(", ")));
    }
    drop(running);
    match format {
        Format::Json => objects::json(&mut stdout().lock(), &begun.into_inner())?,
        Format::Yaml => objects::yaml(&mut stdout().lock(), &begun.into_inner())?,
        _ => {}
    }
    Failure::all(failed)
}

/// Notes in `begun` which job it is, and what came of it where that went well.
async fn upgrade(app: &App, args: &Args, image: &str, target: &Target, begun: &RefCell<Vec<Value>>) -> Result {
    let begin = async {
        let node = app.connect(target).await?;
        let request = UpgradeRequest {
            image: image.to_owned(),
            allow_downgrade: args.allow_downgrade,
            retry_failed: args.retry_failed,
        };
        let job = MachineClient::new(node.channel.clone()).upgrade(request).await?.into_inner().job;
        Ok::<_, Failure>((node, job))
    };
    let within = app.global.timeout.map_or(CALL_TIMEOUT, |limit| limit.min(CALL_TIMEOUT));
    let late = || Failure::new(Code::Deadline, format!("no answer within {within:?}"), "apictl jobs");
    let (node, id) = timeout(within, begin).await.unwrap_or_else(|_| Err(late()))?;
    let name = &target.name;
    app.ui.note(&format!("{name}: job {id}; it goes on when you leave: apictl get job {id} -w -n {name}"));
    let at = begun.borrow().len();
    begun.borrow_mut().push(json!({ "node": name, "job": id, "outcome": null }));
    if args.no_wait {
        return Ok(());
    }
    let done = job::until_over(app, node, id, app.global.timeout.unwrap_or(WITHIN)).await?;
    app.ui.note(&format!("{name}: {}", done.said));
    begun.borrow_mut()[at]["outcome"] = done.said.into();
    Ok(())
}

async fn confirm(app: &App) -> Result {
    let answers = app
        .ask(async |node| {
            let answer = MachineClient::new(node.channel.clone()).confirm_upgrade(ConfirmUpgradeRequest {}).await?;
            Ok(answer.into_inner().generation)
        })
        .await?;
    for (node, generation) in &answers.good {
        app.ui.note(&format!("{}: generation {generation} is confirmed", node.name));
    }
    answers.end()
}
