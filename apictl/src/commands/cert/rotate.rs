//! `apictl cert rotate-ca`: another authority in place of the present one, with no moment without access.
//!
//! ```text
//! bundle: new authority ──▶ nodes: accept both ──▶ own certificate, from the new one ──▶ nodes: certificates from the new one
//!                     ──▶ nodes: accept the new one alone (on trial) ──▶ bundle and context: the new one alone
//! ```
//! Invariant: where it stands is read from the bundle, the nodes and the context, never remembered; so a run that was cut off
//! is gone on with by the next. Every step is done on all nodes before the next begins, and the old authority is dropped by
//! nobody before every node was reached without it.

mod edit;
mod nodes;

use std::{path::PathBuf, time::Duration};

use api::{
    connect::{Authorities, Pin},
    pki::{Ca, Certificate, Client},
    roles::Role,
};

use self::nodes::{Rotated, Step};
use super::renew;
use crate::{
    bundle::{self, API, Bundle},
    enlist,
    exit::{Code, Failure, Result},
    identity,
    node::App,
    settings,
    target::Target,
};

/// What the bundle calls the new authority until the old one is dropped.
const NEXT: &str = "api-ca-next";

/// Of the operator's certificate from the new authority.
const MONTH: Duration = Duration::from_secs(720 * 3600);

/// Replace the authority that signs nodes and clients
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl cert rotate-ca --secrets secrets.yaml --dry-run\n  \
    apictl cert rotate-ca --secrets secrets.yaml --overlap\n  apictl cert rotate-ca --secrets secrets.yaml\n\n\
    All nodes of the context come to accept both authorities, then they and you get certificates from the new one, then the \
    old one is dropped: on trial, so that a node that cannot be reached without it comes back. A run that was cut off is gone \
    on with by the next one.\n\n\
    Other operators are locked out when the old authority is dropped, unless they have renewed: --overlap stops before that, \
    they run `apictl cert renew`, then run it again without --overlap. Documents in files of yours still name the old \
    authority afterwards: apictl config get.")]
pub(crate) struct Args {
    /// The secrets bundle; the new authority is kept in it
    #[arg(long, value_name = "FILE")]
    secrets: PathBuf,
    /// Show what is to be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Stop while both authorities are accepted
    #[arg(long)]
    overlap: bool,
}

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let mut bundle = Bundle::load(&args.secrets)?;
    let old = bundle.ca(API)?;
    let known = bundle.signs(NEXT).then(|| bundle.ca(NEXT)).transpose()?;
    let resumed = known.is_some();
    let new = match known {
        Some(new) => new,
        None => {
            Ca::make(&format!("Stele API {}", &api::facts::moment(identity::now())[..10])).map_err(bundle::failed)?
        }
    };
    let name = enlist::name(&app.global, &[], None)?;
    let mut targets = both(app.targets()?, &old, &new)?;
    if targets.iter().any(|target| target.client.is_none()) {
        return Err(Failure::usage("there is no certificate of yours to begin with", "apictl cert new --secrets FILE"));
    }
    if args.dry_run {
        return dry_run(app, &targets, &old, &new, resumed).await;
    }
    if !resumed {
        bundle.secrets.secrets.insert(NEXT.into(), bundle::of(&new));
        bundle.save()?;
        app.ui.note(&format!("{}: the new authority is in it, as {NEXT}", args.secrets.display()));
    }
    let rotated = Rotated { app, old: &old, new: &new, bundle: &bundle };
    for target in &targets {
        rotated.ensure(Step::Accept, target).await?;
    }
    own(app, &name, &mut targets, &old, &new).await?;
    for target in &targets {
        rotated.ensure(Step::Reissue, target).await?;
        rotated.reached_without_old(target).await?;
        app.ui.note(&format!("{}: reached by the new authority alone", target.name));
    }
    if args.overlap {
        app.ui.note(
            "both authorities are accepted: others renew now (apictl cert renew); then run this without --overlap",
        );
        return Ok(());
    }
    for target in &targets {
        rotated.ensure(Step::Drop, target).await?;
    }
    for target in &targets {
        rotated.reached_without_old(target).await?;
    }
    finish(&mut bundle, &name, &new)?;
    app.ui.note(&format!("{name}: the old authority is dropped everywhere"));
    app.ui.note("  documents in files of yours still name it: compare by `apictl config diff -f FILES`");
    Ok(())
}

/// Nodes on their way from one to the other show certificates of either.
fn both(targets: Vec<Target>, old: &Ca, new: &Ca) -> Result<Vec<Target>> {
    let pem = format!("{}\n{}", old.certificate().pem(), new.certificate().pem());
    let authorities = Authorities::from_pem(&pem).map_err(|error| Failure::usage(error.to_string(), ""))?;
    let trust = |mut target: Target| match target.pin {
        Pin::Authorities(_) | Pin::Either(..) => {
            target.pin = Pin::Authorities(authorities.clone());
            Ok(target)
        }
        _ => Err(Failure::new(
            Code::Usage,
            "it is recognised by its fingerprint, which changes with its certificate",
            "use a context that knows the authority: apictl gen config makes one",
        )
        .at(&target.name)),
    };
    targets.into_iter().map(trust).collect()
}

/// The operator's own certificate, from the new authority; kept once every node let it in.
async fn own(app: &App, name: &str, targets: &mut [Target], old: &Ca, new: &Ca) -> Result {
    let present = targets.first().and_then(|target| target.client.clone());
    let present = present.map(|client| Certificate::from_der(client.der())).transpose().map_err(bundle::failed)?;
    let Some(present) = present else { return Ok(()) };
    if present.is_signed_by(new.certificate()) {
        return Ok(());
    }
    let role = present.roles().first().copied().unwrap_or(Role::Admin);
    let client = Client { common_name: present.common_name.clone(), role, ttl: MONTH };
    let issued = bundle::issue(new, &client, false)?;
    for target in targets.iter() {
        renew::check(target, &issued).await.map_err(|failure| failure.at(&target.name))?;
    }
    let ca = format!("{}{}", old.certificate().pem(), new.certificate().pem());
    settings::change(|settings| {
        if let Some(context) = settings.contexts.get_mut(name) {
            context.ca = Some(ca);
            enlist::client(context, &issued);
        }
        Ok(())
    })?;
    let identity = identity::identity(&issued.certificate.pem(), &issued.key, "the new certificate")?;
    targets.iter_mut().for_each(|target| target.client = Some(identity.clone()));
    app.ui.note(&format!("{name}: your certificate is of the new authority"));
    Ok(())
}

/// The new one takes the old one's place.
fn finish(bundle: &mut Bundle, name: &str, new: &Ca) -> Result {
    bundle.secrets.secrets.remove(NEXT);
    bundle.secrets.secrets.insert(API.into(), bundle::of(new));
    bundle.save()?;
    settings::change(|settings| {
        settings.contexts.get_mut(name).into_iter().for_each(|context| context.ca = Some(new.certificate().pem()));
        Ok(())
    })
}

async fn dry_run(app: &App, targets: &[Target], old: &Ca, new: &Ca, resumed: bool) -> Result {
    app.ui.note(match resumed {
        true => "a rotation is under way; what is left of it:",
        false => "a new authority is made and kept in the bundle; then:",
    });
    let steps = nodes::left(app, targets, old, new).await?;
    for (node, steps) in steps {
        app.ui.note(&format!("  {node}: {}", if steps.is_empty() { "nothing".into() } else { steps.join(", ") }));
    }
    app.ui.note("between the second and the last of these your own certificate is replaced");
    Ok(())
}
