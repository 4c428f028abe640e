//! After the answer: until the revision is in effect, over the path that it made.
//!
//! Invariant: a trial is confirmed on a connection that was made after it came into effect, never on an old one.

use std::{cell::Cell, time::Duration};

use api::v1::{ConfirmRequest, WatchRequest, config_client::ConfigClient, resource_client::ResourceClient};
use backon::BackoffBuilder;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tonic::transport::Channel;

use super::status::{self, Decision};
use crate::{
    exit::{Code, Failure, Result},
    node::{App, backoff},
    target::Target,
    ui::Progress,
};

/// A node on its way from one certificate to the next may for so long show the old one, or not take ours.
const SWITCHING: Duration = Duration::from_secs(60);

/// What keeps a revision from being proven may pass: a link that comes up, a lease.
const STUCK: Duration = Duration::from_secs(45);

/// When a change is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// It is proven.
    Proven,
    /// It is on trial.
    Trial,
    /// It is on trial, was confirmed, and is proven.
    Confirmed,
}

/// Says where the revision ended.
pub(super) async fn until_in_effect(
    app: &App,
    target: &Target,
    revision: u64,
    goal: Goal,
    deadline: Instant,
) -> Result<String> {
    let progress = app.ui.progress(&format!("waiting for {}", target.name));
    let follow = Follow {
        target,
        revision,
        goal,
        progress,
        last: Cell::default(),
        stuck: Cell::new(None),
        confirmed: Cell::new(false),
    };
    let ended = timeout_at(deadline, follow.run()).await;
    follow.progress.done();
    let ended = ended.unwrap_or_else(|_| Err(follow.late()))?;
    app.ui.note(&format!("{}: revision {revision} is {ended}", target.name));
    if goal == Goal::Trial {
        app.ui.note(&format!("  it goes by itself unless you confirm it: apictl config confirm -n {}", target.name));
    }
    Ok(ended)
}

struct Follow<'a> {
    target: &'a Target,
    revision: u64,
    goal: Goal,
    progress: Progress,
    last: Cell<String>,
    /// Since when it is in effect and not proven.
    stuck: Cell<Option<Instant>>,
    /// The node took the confirmation; what it said before may still be under way.
    confirmed: Cell<bool>,
}

impl Follow<'_> {
    async fn run(&self) -> Result<String> {
        let mut delays = backoff().build();
        let patience = Instant::now() + SWITCHING;
        loop {
            match self.target.connector().connect().await {
                Ok(channel) => {
                    if let Some(ended) = self.look(channel).await? {
                        return Ok(ended);
                    }
                    delays = backoff().build();
                }
                Err(error) if error.is_transient() => self.show("does not answer"),
                Err(error) if Instant::now() < patience => self.show(&error.to_string()),
                Err(error) => return Err(error.into()),
            }
            sleep(delays.next().unwrap_or(SWITCHING)).await;
        }
    }

    /// Watches on one connection; none when it broke.
    async fn look(&self, channel: Channel) -> Result<Option<String>> {
        let request = WatchRequest { r#type: status::TYPE.into(), id: status::ID.into(), bookmark: String::new() };
        // Breaks and refusals are what is expected here: the node changes under it.
        let Ok(events) = ResourceClient::new(channel).watch(request).await else { return Ok(None) };
        let mut events = events.into_inner();
        loop {
            let stuck = self.stuck.get();
            let event = tokio::select! {
                event = events.message() => event,
                () = sleep_until(stuck.unwrap_or_else(Instant::now)), if stuck.is_some() => return Err(self.unproven()),
            };
            let Ok(Some(event)) = event else { return Ok(None) };
            let Some(object) = event.object else { continue };
            let decision = status::parse(&object)?.decide(self.revision, self.goal);
            if !matches!(decision, Decision::Stuck(_)) {
                self.stuck.set(None);
            }
            match decision {
                Decision::Wait(now) => self.show(&now),
                Decision::Stuck(now) => {
                    self.show(&now);
                    self.stuck.set(Some(stuck.unwrap_or_else(|| Instant::now() + STUCK)));
                }
                Decision::Done(now) => return Ok(Some(now)),
                Decision::Confirm if self.confirmed.get() => {}
                Decision::Confirm => self.confirm().await?,
                Decision::GivenUp(why) => {
                    return Err(Failure::new(Code::Failed, why, "the node runs what it ran before"));
                }
            }
        }
    }

    /// Over a new connection: that it can be made is what is proven.
    async fn confirm(&self) -> Result {
        let Ok(channel) = self.target.connector().connect().await else {
            self.show("on trial, and a new connection fails: trying again");
            return Ok(());
        };
        let request = ConfirmRequest { revision: self.revision };
        match ConfigClient::new(channel).confirm(request).await {
            Ok(_) => {
                self.confirmed.set(true);
                self.show("reached anew: confirmed");
            }
            Err(status) if api::error::is_transient(&status) => self.show("on trial, not confirmed yet: trying again"),
            Err(status) => return Err(status.into()),
        }
        Ok(())
    }

    fn show(&self, now: &str) {
        if self.last.take() != now {
            self.progress.line(&format!("{}: {now}", self.target.name));
        }
        self.last.set(now.to_owned());
    }

    fn unproven(&self) -> Failure {
        let message = format!("revision {} is {}", self.revision, self.last.take());
        let remedy = "it stays, and may yet be proven: apictl get config-status -w; or go back: apictl config revert";
        Failure::new(Code::Unhealthy, message, remedy)
    }

    fn late(&self) -> Failure {
        let message =
            format!("revision {} is kept, and not in effect in time; last seen: {}", self.revision, self.last.take());
        let remedy = match self.goal {
            Goal::Proven => "the node goes on by itself: apictl get config-status; its console shows why it waits",
            Goal::Trial | Goal::Confirmed => "it was not confirmed: the node goes back by itself to what it ran before",
        };
        Failure::new(Code::Deadline, message, remedy)
    }
}
