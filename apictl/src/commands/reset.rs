//! `apictl reset`.

use api::v1::{Phase, ResetScope, VersionRequest, VersionResponse, WatchPhaseRequest, machine_client::MachineClient};

use crate::{
    exit::{Code, Failure, Result},
    node::{App, Node},
    stop::{self, Action, Options, Wipe},
};

/// Wipe what the nodes have stored: their configuration and secrets, what lies under /var, or both
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl reset ephemeral -n 10.0.0.1 --reason 'images are damaged'\n  \
    apictl reset all --off -n 10.0.0.1 --reason 'goes to another owner'\n\n\
    It is asked for once more, with the names of the nodes; --yes answers that. The nodes write down what is to be wiped, stop as \
    for a reboot, and wipe at their next start, before anything of it is used: a power cut ends in the same. With --off they start \
    for that, too, and switch off by themselves afterwards.\n\n\
    STATE is overwritten with zeros. EPHEMERAL is discarded and made anew: what a disk keeps of that is up to the disk. Versions, \
    the choice of what starts, and the recovery system stay.")]
pub(crate) struct Args {
    /// What is wiped
    #[arg(value_enum, value_name = "WHAT")]
    what: What,
    /// Switch the nodes off afterwards: they start once more, wipe, and go off
    #[arg(long)]
    off: bool,
    /// Stop at once, and whatever is under way: nothing is ended in order, a job or a version on trial does not hold it up
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// STATE: configuration, secrets, certificates, identity, audit log. Afterwards nobody has configured the node
    State,
    /// EPHEMERAL: everything under /var. The configuration stays, and the node is running afterwards
    Ephemeral,
    /// Both
    All,
}

impl What {
    fn scope(self) -> ResetScope {
        match self {
            Self::State => ResetScope::State,
            Self::Ephemeral => ResetScope::Ephemeral,
            Self::All => ResetScope::All,
        }
    }

    /// What nobody gets back.
    fn lost(self) -> &'static str {
        match self {
            Self::State => "STATE is wiped: configuration, secrets, certificates, identity and audit log",
            Self::Ephemeral => "EPHEMERAL is wiped: everything under /var; the configuration stays",
            Self::All => {
                "STATE and EPHEMERAL are wiped: configuration, secrets, certificates, identity, audit log, and everything under /var"
            }
        }
    }
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    stop::targets(app)?;
    let answers = app.ask(async |node| look(node).await).await?;
    let names: Vec<_> =
        answers.good.iter().map(|(node, machine)| format!("{} ({})", node.name, machine.hostname)).collect();
    answers.end()?;
    if !args.yes {
        let lost = args.what.lost();
        let after = match (args.off, args.what) {
            (true, _) => "They are off afterwards.",
            (false, What::Ephemeral) => "They reboot, and are running afterwards.",
            (false, _) => "They reboot, and wait for a configuration afterwards: anybody who reaches them may give it.",
        };
        let question = format!("of {}:\n  {lost}.\n  {after}\nNothing of it comes back. Go on?", names.join(", "));
        if !app.ui.agrees(&question)? {
            return Err(Failure::new(Code::Failed, "nothing was done", ""));
        }
    }
    let wipe = Wipe { scope: args.what.scope(), force: args.force, off: args.off };
    stop::run(app, Action::Reset(wipe), args.options).await
}

/// Who it is; one that nobody has configured has nothing to lose.
async fn look(node: &Node) -> Result<VersionResponse> {
    let mut machine = MachineClient::new(node.channel.clone());
    let version = machine.version(VersionRequest {}).await?.into_inner();
    let until = WatchPhaseRequest { until: Phase::Unspecified.into() };
    let now = machine.watch_phase(until).await?.into_inner().message().await?;
    if now.is_some_and(|now| now.phase() == Phase::Maintenance) {
        return Err(Failure::new(
            Code::Refused,
            "it is in maintenance: nobody has configured it, and there is nothing to reset",
            "apictl apply-config gives it a configuration; apictl install --wipe makes a disk anew",
        ));
    }
    Ok(version)
}
