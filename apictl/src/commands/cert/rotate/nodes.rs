//! The steps of a rotation on one node: each looks first whether it is done already.

use std::time::Duration;

use api::{
    connect::{Authorities, Pin},
    pki::Ca,
};
use tokio::time::{Instant, sleep};

use super::{NEXT, edit};
use crate::{
    apply::{self, Change, Mode, Options, When},
    bundle::Bundle,
    commands::cert::{node as certificate, renew},
    exit::{Failure, Result},
    node::App,
    target::Target,
};

/// A node that signs for itself has its new certificate within seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// What happens to every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It accepts both.
    Accept,
    /// It signs with the new one, or has a certificate of it.
    Reissue,
    /// It accepts the new one alone.
    Drop,
}

/// What a rotation works with.
pub(super) struct Rotated<'a> {
    pub(super) app: &'a App,
    pub(super) old: &'a Ca,
    pub(super) new: &'a Ca,
    pub(super) bundle: &'a Bundle,
}

impl Rotated<'_> {
    /// Does the step, unless it is done.
    pub(super) async fn ensure(&self, step: Step, target: &Target) -> Result {
        self.step(step, target).await.map_err(|failure| failure.at(&target.name))
    }

    async fn step(&self, step: Step, target: &Target) -> Result {
        let node = self.app.connect(target).await?;
        let read = apply::read(&node.channel).await?;
        let (old, new) = (self.old.certificate(), self.new.certificate());
        let stand = edit::stand(&read.documents, old, new)?;
        let (text, bundle, what) = match (step, &stand.authority) {
            (Step::Accept, _) if !stand.accepts_new => {
                (edit::accept(&read.documents, new)?, None, "accepts both authorities")
            }
            (Step::Drop, _) if stand.accepts_old => {
                (edit::drop_old(&read.documents, old)?, None, "accepts the new authority alone")
            }
            (Step::Reissue, Some((secret, false))) => {
                let bundle = self.bundle.with(secret, self.bundle.secrets.get(NEXT).cloned().unwrap_or_default());
                (edit::authority(&read.documents, new)?, Some(bundle), "signs with the new authority")
            }
            (Step::Reissue, None) if self.without_old(target).await.is_err() => {
                certificate::renew(&node, target, self.new).await?;
                self.app.ui.note(&format!("{}: has a certificate of the new authority", target.name));
                return Ok(());
            }
            _ => return Ok(()),
        };
        let source = apply::source(text)?;
        let change = Change::Documents { source: &source, secrets: bundle.as_ref(), expected: apply::id(&read) };
        // What takes something away comes back by itself when the node is not reached any more.
        let mode = if step == Step::Drop { Mode::Trial } else { Mode::Auto };
        let message = format!("rotation of the authority: {what}");
        let options = Options { when: When { mode: Some(mode), ..When::default() }, message };
        apply::single(self.app, target, &change, &options).await?;
        self.app.ui.note(&format!("{}: {what}", target.name));
        Ok(())
    }

    /// Waits until the node can be reached with nothing of the old authority.
    pub(super) async fn reached_without_old(&self, target: &Target) -> Result {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.without_old(target).await {
                Ok(()) => return Ok(()),
                Err(failure) if Instant::now() >= deadline => {
                    let mut failure = failure.at(&target.name);
                    failure.remedy.push_str("\nboth authorities are accepted still: nothing is lost; run it again");
                    return Err(failure);
                }
                Err(_) => sleep(Duration::from_secs(2)).await,
            }
        }
    }

    async fn without_old(&self, target: &Target) -> Result {
        let authorities = Authorities::from_pem(&self.new.certificate().pem());
        let pin = Pin::Authorities(authorities.map_err(|error| Failure::usage(error.to_string(), ""))?);
        renew::answers(&Target { pin, ..target.clone() }.connector()).await
    }
}

/// What is left to do on each node, in words.
pub(super) async fn left(
    app: &App,
    targets: &[Target],
    old: &Ca,
    new: &Ca,
) -> Result<Vec<(String, Vec<&'static str>)>> {
    let mut all = Vec::new();
    for target in targets {
        let look = async { apply::read(&app.connect(target).await?.channel).await };
        let read = look.await.map_err(|failure| failure.at(&target.name))?;
        let stand = edit::stand(&read.documents, old.certificate(), new.certificate())?;
        let reissue = match &stand.authority {
            Some((_, true)) => None,
            Some((_, false)) => Some("sign with the new one"),
            None => Some("have a certificate of the new one"),
        };
        let steps = [
            (!stand.accepts_new).then_some("accept both"),
            reissue,
            (stand.accepts_old).then_some("accept the new one alone"),
        ];
        all.push((target.name.clone(), steps.into_iter().flatten().collect()));
    }
    Ok(all)
}
