//! `apictl install`: the system onto a disk of a node that was started from a medium, or the disk that this would be.

use std::{io::stdout, time::Duration};

use api::v1::{InstallDiskRequest, InstallDiskResponse, machine_client::MachineClient};
use config::kinds::DiskSelector;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    job,
    node::{App, Node},
    objects,
    table::Table,
};

/// Put the system onto a disk of a node that was started from a stick, a disc or the network, and start it from there
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl install --disk 'size>=100G,transport=nvme' --dry-run -e 10.0.0.1\n  \
    apictl install --disk serial=S4EWNX0R123456 -e 10.0.0.1\n\n\
    The node does it by itself: leave at any time, and look again with `apictl jobs`. A disk that holds anything is refused \
    without --wipe; of two disks that are meant neither is touched. In the end the node starts from the disk; its API then has \
    a fingerprint of its own, which is printed.")]
pub(crate) struct Args {
    /// Which disk: size>=, size<=, size=A..B, model=, serial=, wwid=, bus-path=, transport=, removable=; * stands for anything
    #[arg(long, value_name = "SELECTOR")]
    disk: DiskSelector,
    /// The installer image [default: what the node was started from]
    #[arg(long, value_name = "REF")]
    image: Option<config::image::Reference>,
    /// What is on the disk goes
    #[arg(long)]
    wipe: bool,
    /// Show which disk it would be, and why not the others; nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// Return once the node has accepted
    #[arg(long)]
    no_wait: bool,
}

/// A pull over a slow line, a slow disk.
const WITHIN: Duration = Duration::from_secs(3600);
/// The node waits until all its disks are known.
const CALL: Duration = Duration::from_secs(150);

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let format = format(app, &[Format::Table, Format::Json, Format::Yaml])?;
    let targets = app.targets()?;
    let [target] = targets.as_slice() else {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let message = format!("{} nodes are meant, and disks are those of one", names.len());
        return Err(Failure::usage(message, format!("name one: -n {}", names.join(" or -n "))));
    };
    let begin = async {
        let node = app.connect(target).await?;
        let request = InstallDiskRequest {
            disk: args.disk.to_string(),
            image: args.image.as_ref().map(ToString::to_string).unwrap_or_default(),
            wipe: args.wipe,
            dry_run: args.dry_run,
        };
        let answer = MachineClient::new(node.channel.clone()).install(request).await?.into_inner();
        Ok::<_, Failure>((node, answer))
    };
    let within = app.global.timeout.map_or(CALL, |limit| limit.min(CALL));
    let late = || Failure::new(Code::Deadline, format!("no answer within {within:?}"), "apictl jobs");
    let begun = app.ui.slow(&format!("asking {}", target.name), timeout(within, begin)).await;
    let done = match begun.unwrap_or_else(|_| Err(late())) {
        Ok((node, choice)) if args.dry_run => show(&node, &choice, format),
        Ok((node, answer)) => follow(app, node, answer.job, args.no_wait, format).await,
        Err(failure) => Err(failure),
    };
    done.map_err(|failure| failure.at(&target.name))
}

async fn follow(app: &App, node: Node, id: u64, no_wait: bool, format: Format) -> Result {
    let name = node.name.clone();
    app.ui.note(&format!("{name}: job {id}; it goes on when you leave: apictl get job {id} -w -n {name}"));
    let outcome = if no_wait {
        None
    } else {
        let done = job::until_over(app, node, id, app.global.timeout.unwrap_or(WITHIN)).await?;
        app.ui.note(&format!("{name}: {done}"));
        Some(done)
    };
    print(&json!({ "node": name, "job": id, "outcome": outcome }), format)
}

/// The choice; exit code 4 when no disk is chosen.
fn show(node: &Node, choice: &InstallDiskResponse, format: Format) -> Result {
    let disks: Vec<Value> = choice
        .disks
        .iter()
        .map(|disk| json!({ "disk": disk.disk, "what": disk.what, "holds": disk.holds, "whyNot": disk.why_not }))
        .collect();
    print(
        &json!({ "node": node.name, "disks": disks, "chosen": choice.chosen, "reason": choice.reason, "remedy": choice.remedy }),
        format,
    )?;
    if format == Format::Table {
        let mut table = Table::new(["DISK", "WHAT", "HOLDS", "CHOSEN", "WHY NOT"]);
        for disk in &choice.disks {
            let chosen = if disk.disk == choice.chosen { "yes" } else { "no" };
            let cells = [&disk.disk, &disk.what, &disk.holds, chosen, &disk.why_not].map(ToOwned::to_owned);
            table.row(cells);
        }
        table.print(&mut stdout().lock())?;
    }
    if choice.chosen.is_empty() {
        return Err(Failure::new(Code::Refused, choice.reason.clone(), choice.remedy.clone()));
    }
    Ok(())
}

fn print(value: &Value, format: Format) -> Result {
    let mut out = stdout().lock();
    match format {
        Format::Json => objects::json(&mut out, value),
        Format::Yaml => objects::yaml(&mut out, value),
        _ => Ok(()),
    }
}
