//! `apictl cert renew`: the next certificate, from a node with an `Authority`, in exchange for the present one.
//!
//! Invariant: the context is changed after the new certificate was shown to a node and let in, and not before. Whom nodes let in
//! as clients is not whom the operator trusts as nodes: of the authorities in the answer, only the one that signed the new
//! certificate is added.

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
            Ok(renewed) => return keep(app, args, &target, &renewed).await,
            Err(failure) => failed.push(failure.at(&target.name)),
        }
    }
    Failure::all(failed)
}

/// What a node gave.
struct Renewed {
    issued: Issued,
    /// Who signed it.
    signers: Vec<Certificate>,
    /// Whose clients the node lets in.
    accepted: Vec<Certificate>,
}

async fn renew(app: &App, target: &Target) -> Result<Renewed> {
    let Some(present) = &target.client else {
        return Err(Failure::usage("there is no certificate to renew", "make one: apictl cert new --secrets FILE"));
    };
    let present = Certificate::from_der(present.der()).map_err(bundle::failed)?;
    let key = Key::make().map_err(bundle::failed)?;
    let request = key.request(&present.common_name, &[]).map_err(bundle::failed)?.pem();
    let node = app.connect(target).await?;
    let answer = EnrolmentClient::new(node.channel).renew(RenewRequest { request }).await?.into_inner();
    let RenewResponse { certificate, accepted } = answer;
    let mut chain = Certificate::chain(&certificate).unwrap_or_default().into_iter();
    let certificate = chain.next().filter(|signed| signed.is_of(&key)).ok_or_else(|| {
        Failure::new(Code::Failed, "the node's answer is no certificate for the new key", "try another node: -n HOST")
    })?;
    let issued = Issued { certificate, key: Secret::from(key.pem().as_str().to_owned()) };
    check(target, &issued).await?;
    let accepted = Certificate::chain(&accepted).unwrap_or_default();
    let signers = signers(&issued.certificate, chain.chain(accepted.iter().cloned()));
    Ok(Renewed { issued, signers, accepted })
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

async fn keep(app: &App, args: &Args, target: &Target, renewed: &Renewed) -> Result {
    let Renewed { issued, signers, .. } = renewed;
    let until = moment(issued.certificate.not_after);
    if let Some(path) = &args.out {
        secret::create(path, &format!("{}{}", issued.certificate.pem(), issued.key.reveal()))?;
        app.ui.note(&format!("{}: {}, valid until {until}", path.display(), issued.certificate.subject));
        return show::made(app, &path.display().to_string(), &issued.certificate);
    }
    let name = enlist::name(&app.global, &[], None)?;
    let known = settings::load()?.contexts.get(&name).and_then(|context| context.ca.clone());
    let retired = retired(app, target, &known.unwrap_or_default(), renewed).await;
    settings::change(|settings| {
        let Some(context) = settings.contexts.get_mut(&name) else {
            return Err(Failure::usage("there is no context to keep it in", "name a new file: --out FILE"));
        };
        enlist::client(context, issued);
        let known = context.ca.take().unwrap_or_default();
        context.ca = Some(trusted(&known, signers, &retired)).filter(|all| !all.is_empty());
        Ok(())
    })?;
    app.ui.note(&format!("{name}: your certificate is valid until {until}"));
    show::made(app, &name, &issued.certificate)
}

/// Of what a node offers, the authorities that signed the certificate.
fn signers(certificate: &Certificate, offered: impl Iterator<Item = Certificate>) -> Vec<Certificate> {
    let mut signers = Vec::new();
    for one in offered.filter(|one| one.is_authority && certificate.is_signed_by(one)) {
        if !signers.contains(&one) {
            signers.push(one);
        }
    }
    signers
}

/// What was known, and who signed now; without those that are over. What is known and cannot be read stays as it is.
fn trusted(known: &str, signers: &[Certificate], retired: &[Certificate]) -> String {
    let Ok(mut all) = Certificate::chain(known) else {
        return [known.to_owned()].into_iter().chain(signers.iter().map(Certificate::pem)).collect();
    };
    all.retain(|one| !retired.contains(one));
    let new: Vec<_> = signers.iter().filter(|one| !all.contains(one)).cloned().collect();
    all.iter().chain(&new).map(Certificate::pem).collect()
}

/// Known authorities whose rotation is over: the node lets in none of their clients any more, and is itself reached without
/// them. While a rotation is under way it lets in both, since nodes may show a certificate of either.
async fn retired(app: &App, target: &Target, known: &str, renewed: &Renewed) -> Vec<Certificate> {
    let mut gone = Certificate::chain(known).unwrap_or_default();
    gone.retain(|one| !renewed.accepted.contains(one) && !renewed.signers.contains(one));
    if gone.is_empty() || renewed.signers.is_empty() {
        return Vec::new();
    }
    let Ok(pin) = identity::authorities(&trusted(known, &renewed.signers, &gone), "the context") else {
        return Vec::new();
    };
    let reached = app.within(app.global.timeout.or(Some(CALL_TIMEOUT)), async {
        answers(&Target { pin: Pin::Authorities(pin), ..target.clone() }.connector()).await
    });
    if reached.await.is_ok_and(|reached| reached.is_ok()) { gone } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use api::{
        pki::{Ca, Client},
        roles::Role,
    };

    use super::*;

    #[test]
    fn of_what_a_node_accepts_only_the_signer_is_trusted_as_well() {
        let [old, new, clients] = ["old", "new", "clients of others"].map(|name| Ca::make(name).unwrap());
        let pem = |all: &[&Ca]| all.iter().map(|ca| ca.certificate().pem()).collect::<String>();
        let of = |all: &[&Ca]| all.iter().map(|ca| ca.certificate().clone()).collect::<Vec<_>>();
        let signed = |ca: &Ca| {
            let request = Key::make().unwrap().request("me", &[]).unwrap();
            let client = Client { common_name: "me".into(), role: Role::Admin, ttl: Duration::from_secs(3600) };
            ca.sign_client(&request, &client).unwrap()
        };
        type All<'a> = &'a [&'a Ca];
        // Known, signed by, offered, retired; then trusted.
        let table: [(All<'_>, &Ca, All<'_>, All<'_>, All<'_>); 5] = [
            (&[&old], &old, &[&clients], &[], &[&old]),
            (&[&old], &old, &[&old, &clients], &[], &[&old]),
            (&[&old], &new, &[&new, &old, &new], &[], &[&old, &new]),
            (&[&old, &new], &new, &[&new], &[&old], &[&new]),
            (&[], &new, &[&clients, &new], &[], &[&new]),
        ];
        for (row, (known, signer, offered, retired, wanted)) in table.into_iter().enumerate() {
            let signers = signers(&signed(signer), of(offered).into_iter());
            assert_eq!(trusted(&pem(known), &signers, &of(retired)), pem(wanted), "row {row}");
        }
    }
}
