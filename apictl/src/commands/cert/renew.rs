//! `apictl cert renew`: the next certificate, from a node with an `Authority`, in exchange for the present one.
//!
//! Invariant: the context is changed after the new certificate was shown to a node and let in, and not before.

use std::path::PathBuf;

use api::{
    connect::{Connector, Pin},
    facts::moment,
    pki::{Certificate, Key},
    v1::{
        RenewRequest, RenewResponse, VersionRequest, enrolment_client::EnrolmentClient, machine_client::MachineClient,
    },
};

use super::show;
use crate::{
    bundle::{self, Issued},
    enlist,
    exit::{Code, Failure, Result},
    identity,
    node::{App, CALL_TIMEOUT},
    secret, settings,
    settings::Secret,
    target::Target,
};

/// Exchange your certificate for one with more time; with --node the node's
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl cert renew\n  apictl cert renew --node --secrets secrets.yaml -n 10.0.0.1\n\n\
    The first of the context's nodes that has an Authority signs: same name, same role, a new key. When your certificate is \
    over, no node signs any more: apictl cert new --secrets FILE.\n\n\
    --node is for nodes that have no Authority, and none near them: the node's own certificate is signed here, with the secrets \
    bundle, for the names that the node has and those of its documents."
)]
pub(crate) struct Args {
    /// Renew the certificates of the nodes instead
    #[arg(long, requires = "secrets")]
    pub(super) node: bool,
    /// The secrets bundle, for --node
    #[arg(long, value_name = "FILE", requires = "node")]
    pub(super) secrets: Option<PathBuf>,
    /// Write your new certificate with its key to this new file, and leave the context as it is
    #[arg(long, value_name = "FILE", conflicts_with = "node")]
    out: Option<PathBuf>,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    // The very thing that is warned about is done here.
    app.warned.set(true);
    if args.out.is_none() && app.global.client_cert.is_some() {
        return Err(Failure::usage("the certificate is in a file, not in the context", "name a new file: --out FILE"));
    }
    let mut failed = Vec::new();
    for target in app.targets()? {
        let limit = app.global.timeout.or(Some(CALL_TIMEOUT));
        let renewed = app.within(limit, renew(app, &target));
        match app.ui.slow(&format!("asking {}", target.name), renewed).await.and_then(|renewed| renewed) {
            Ok((issued, accepted)) => return keep(app, args, &issued, &accepted),
            Err(failure) => failed.push(failure.at(&target.name)),
        }
    }
    Failure::all(failed)
}

async fn renew(app: &App, target: &Target) -> Result<(Issued, String)> {
    let Some(present) = &target.client else {
        return Err(Failure::usage("there is no certificate to renew", "make one: apictl cert new --secrets FILE"));
    };
    let present = Certificate::from_der(present.der()).map_err(bundle::failed)?;
    let key = Key::make().map_err(bundle::failed)?;
    let request = key.request(&present.common_name, &[]).map_err(bundle::failed)?.pem();
    let node = app.connect(target).await?;
    let answer = EnrolmentClient::new(node.channel).renew(RenewRequest { request }).await?.into_inner();
    let RenewResponse { certificate, accepted } = answer;
    let signed = Certificate::chain(&certificate).ok().and_then(|chain| chain.into_iter().next());
    let certificate = signed.filter(|signed| signed.is_of(&key)).ok_or_else(|| {
        Failure::new(Code::Failed, "the node's answer is no certificate for the new key", "try another node: -n HOST")
    })?;
    let issued = Issued { certificate, key: Secret::from(key.pem().as_str().to_owned()) };
    check(target, &issued).await?;
    Ok((issued, accepted))
}

/// Whether the node lets the new certificate in.
pub(super) async fn check(target: &Target, issued: &Issued) -> Result {
    let pem = issued.certificate.pem();
    let client = Some(identity::identity(&pem, &issued.key, "the new certificate")?);
    answers(&target.connector().client(client)).await
}

/// Whether the node can be reached in this way.
pub(super) async fn answers(connector: &Connector) -> Result {
    let channel = connector.connect().await?;
    MachineClient::new(channel).version(VersionRequest {}).await?;
    Ok(())
}

fn keep(app: &App, args: &Args, issued: &Issued, accepted: &str) -> Result {
    let until = moment(issued.certificate.not_after);
    if let Some(path) = &args.out {
        secret::create(path, &format!("{}{}", issued.certificate.pem(), issued.key.reveal()))?;
        app.ui.note(&format!("{}: {}, valid until {until}", path.display(), issued.certificate.subject));
        return show::made(app, &path.display().to_string(), &issued.certificate);
    }
    let name = enlist::name(&app.global, &[], None)?;
    settings::change(|settings| {
        let Some(context) = settings.contexts.get_mut(&name) else {
            return Err(Failure::usage("there is no context to keep it in", "name a new file: --out FILE"));
        };
        enlist::client(context, issued);
        // A rotation that is under way: nodes may show a certificate of either.
        let known = context.ca.take().unwrap_or_default();
        context.ca = Some(both(&known, accepted)).filter(|all| !all.is_empty());
        Ok(())
    })?;
    app.ui.note(&format!("{name}: your certificate is valid until {until}"));
    show::made(app, &name, &issued.certificate)
}

/// What is accepted now; and what was known, when that is nothing of it.
fn both(known: &str, accepted: &str) -> String {
    match identity::authorities(accepted, "the node's answer") {
        Ok(Pin::Authorities(_)) => accepted.to_owned(),
        _ => known.to_owned(),
    }
}
