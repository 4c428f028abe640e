//! `apictl install`: the system onto a disk of a node that was started from a medium, or the disk that this would be.

use std::{io::stdout, path::PathBuf, time::Duration};

use api::{
    connect::Pin,
    fingerprint::Fingerprint,
    v1::{InstallDiskRequest, InstallDiskResponse, machine_client::MachineClient},
};
use backon::BackoffBuilder;
use config::kinds::DiskSelector;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    apply::{self, Change},
    bundle::Bundle,
    cli::Format,
    commands::format,
    enlist,
    exit::{Code, Failure, Result},
    job,
    node::{App, Node, backoff},
    objects,
    source::Source,
    table::Table,
    target::Target,
};

/// Put the system onto a disk of a node that was started from a stick, a disc or the network, and start it from there
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl install --disk 'size>=100G,transport=nvme' --dry-run -e 10.0.0.1\n  \
    apictl install --disk serial=S4EWNX0R123456 -e 10.0.0.1\n  \
    apictl install --disk serial=S4EWNX0R123456 -f node-1/ --secrets secrets.yaml\n\n\
    The node does it by itself: leave at any time, and look again with `apictl jobs`. A disk that holds anything is refused \
    without --wipe; of two disks that are meant neither is touched. In the end the node starts from the disk; its API then has \
    a fingerprint of its own, which is printed, and which a context that knows the node by its fingerprint takes over.\n\n\
    With --file apictl stays until the installed system answers, and configures it as `apictl apply-config` does; whoever leaves \
    before does that later. What is wrong with the documents is said before anything is installed.")]
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
    /// The configuration of the installed system: a file, a folder (its .yaml and .yml files), or - for standard input; may be given
    /// several times
    #[arg(short, long = "file", value_name = "PATH", conflicts_with_all = ["dry_run", "no_wait"])]
    files: Vec<PathBuf>,
    /// The secrets bundle; only those that the documents name are sent
    #[arg(long, value_name = "FILE", requires = "files")]
    secrets: Option<PathBuf>,
}

/// A pull over a slow line, a slow disk.
const WITHIN: Duration = Duration::from_secs(3600);
/// Firmware of servers takes minutes.
const START: Duration = Duration::from_secs(600);
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
    let configuration = Configuration::load(&args, target)?;
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
        Ok((node, answer)) if args.no_wait => accepted(app, &node, answer.job, format),
        Ok((node, answer)) => match (follow(app, node, answer.job, target).await, configuration) {
            (Ok(installed), Some(configuration)) => configuration.apply(app, installed).await,
            (Ok(installed), None) => print(&installed.shown, format),
            (Err(failure), _) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    done.map_err(|failure| failure.at(&target.name))
}

fn accepted(app: &App, node: &Node, id: u64, format: Format) -> Result {
    note(app, &node.name, id);
    print(&json!({ "node": node.name, "job": id, "outcome": null }), format)
}

fn note(app: &App, name: &str, id: u64) {
    app.ui.note(&format!("{name}: job {id}; it goes on when you leave: apictl get job {id} -w -n {name}"));
}

/// A system that is on its disk.
struct Installed {
    /// How it is reached once it has started; none when the node does not say.
    target: Option<Target>,
    shown: Value,
}

async fn follow(app: &App, node: Node, id: u64, target: &Target) -> Result<Installed> {
    let name = node.name.clone();
    note(app, &name, id);
    let done = job::until_over(app, node, id, app.global.timeout.unwrap_or(WITHIN)).await?;
    app.ui.note(&format!("{name}: {}", done.said));
    let fingerprint = done.fingerprint.parse::<Fingerprint>().ok();
    if let Some(fingerprint) = fingerprint
        && enlist::renamed(&app.global, &target.endpoint, &fingerprint)?
    {
        app.ui.note(&format!("{name}: the context knows it by that fingerprint now"));
    }
    let target = fingerprint.map(|fingerprint| Target { pin: Pin::Exact(vec![fingerprint]), ..target.clone() });
    Ok(Installed {
        target,
        shown: json!({ "node": name, "job": id, "outcome": done.said, "fingerprint": done.fingerprint }),
    })
}

/// What the installed system is to be.
struct Configuration {
    source: Source,
    bundle: Option<Bundle>,
}

impl Configuration {
    /// Checked as far as that can be done before there is a system to be asked.
    fn load(args: &Args, target: &Target) -> Result<Option<Self>> {
        if args.files.is_empty() {
            return Ok(None);
        }
        let source = Source::load(&args.files)?;
        source.check_complete()?;
        let bundle = args.secrets.as_deref().map(Bundle::load).transpose()?;
        apply::check_first(&source, bundle.as_ref(), target)?;
        Ok(Some(Self { source, bundle }))
    }

    async fn apply(self, app: &App, installed: Installed) -> Result {
        let Some(target) = installed.target else {
            let message = "it is installed, and the node does not say by which certificate it will be known";
            return Err(Failure::new(
                Code::Failed,
                message,
                "apictl apply-config, with the fingerprint on its console",
            ));
        };
        let progress = app.ui.progress(&format!("waiting for the installed system on {}", target.name));
        let mut last = String::new();
        let answers = async {
            let mut delays = backoff().build();
            // The medium's system answers until it has stopped, by another certificate.
            while let Err(error) = target.connector().connect().await {
                last = error.to_string();
                sleep(delays.next().unwrap_or(START)).await;
            }
        };
        let answers = timeout(app.global.timeout.unwrap_or(START), answers).await;
        progress.done();
        if answers.is_err() {
            let message = format!("it is installed, and the installed system does not answer: {last}");
            return Err(Failure::new(Code::Deadline, message, "apictl apply-config, once it does"));
        }
        let change = Change::Documents { source: &self.source, secrets: self.bundle.as_ref(), expected: 0 };
        apply::run(app, &[(target, change)], &apply::Options::default()).await
    }
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
