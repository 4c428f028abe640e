//! `apictl cert new`: a client certificate, signed here with the secrets bundle; no node is asked.

use std::{path::PathBuf, time::Duration};

use api::{
    facts::moment,
    pki::{Client, RESCUE as LONGEST},
    roles::Role,
};

use super::show;
use crate::{
    bundle::{self, API, Bundle, Issued, RESCUE},
    enlist,
    exit::{Failure, Result},
    node::App,
    secret, settings,
};

/// Without `--ttl`: a month.
const MONTH: Duration = Duration::from_secs(720 * 3600);

/// Without `--ttl`, from the rescue authority: a working day.
const SHIFT: Duration = Duration::from_secs(8 * 3600);

/// Sign a client certificate with the secrets bundle, and keep it in the context or in a file
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl cert new --secrets secrets.yaml\n  \
    apictl cert new --secrets secrets.yaml --role reader --name alice --ttl 168h --out alice.pem\n  \
    apictl cert new --rescue --secrets /media/usb/rescue.yaml\n\n\
    Without --out the certificate becomes your own in the context (--context NAME, or the current one). A file holds \
    certificate and key, and is given to a command by --client-cert.\n\n\
    With --rescue the rescue authority signs: nodes let that in whatever their documents say, for 24 hours at most, and \
    report it on their console, in their log and in their audit.")]
pub(crate) struct Args {
    /// The secrets bundle
    #[arg(long, value_name = "FILE")]
    secrets: PathBuf,
    /// What it may do: reader, operator, admin, etcd-backup
    #[arg(long, default_value = "admin")]
    role: Role,
    /// How long it is valid [default: 720h; with --rescue 8h]
    #[arg(long, value_name = "TIME", value_parser = crate::cli::duration)]
    ttl: Option<Duration>,
    /// Whose it is; stands in every line of the audit [default: your user name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Write it to this new file instead, with its key
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sign with the rescue authority
    #[arg(long)]
    rescue: bool,
}

pub(super) fn run(app: &App, args: &Args) -> Result {
    let bundle = Bundle::load(&args.secrets)?;
    let ca = bundle.ca(if args.rescue { RESCUE } else { API })?;
    let ttl = args.ttl.unwrap_or(if args.rescue { SHIFT } else { MONTH });
    if args.rescue && ttl > LONGEST {
        return Err(Failure::usage("nodes let no rescue certificate in that is valid for more than 24 h", "--ttl 24h"));
    }
    let common_name = args.name.clone().unwrap_or_else(bundle::person);
    let issued = bundle::issue(&ca, &Client { common_name, role: args.role, ttl }, args.rescue)?;
    let facts = &issued.certificate;
    let told = format!("{}, valid until {}", facts.subject, moment(facts.not_after));
    let place = match &args.out {
        Some(path) => {
            secret::create(path, &format!("{}{}", facts.pem(), issued.key.reveal()))?;
            app.ui.note(&format!("{}: {told}; it holds the key: only you can read it", path.display()));
            path.display().to_string()
        }
        None => {
            let name = keep(app, &issued, (!args.rescue).then(|| ca.certificate().pem()).as_deref())?;
            app.ui.note(&format!("{name}: your certificate is {told}"));
            name
        }
    };
    app.ui.note(&format!("  fingerprint {}", facts.fingerprint()));
    show::made(app, &place, facts)
}

/// Keeps it in the context; what the rescue signed says nothing of whom to trust.
fn keep(app: &App, issued: &Issued, ca: Option<&str>) -> Result<String> {
    let settings = settings::load()?;
    let name = enlist::name(&app.global, &[], None)?;
    if !settings.contexts.contains_key(&name) {
        let remedy = "write it to a file: --out FILE; or make a context: apictl gen config";
        return Err(Failure::usage("there is no context to keep it in", remedy));
    }
    if let Some(ca) = ca {
        enlist::keep(&name, &app.global, &[], ca, Some(issued), false)?;
        return Ok(name);
    }
    settings::change(|settings| {
        settings.contexts.get_mut(&name).into_iter().for_each(|context| enlist::client(context, issued));
        Ok(())
    })?;
    Ok(name)
}
