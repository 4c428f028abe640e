//! Proving a revision: the machine asks its own API the way a client does, until it answers; then the revision is blessed
//! as soon as every document could be applied and nobody has to confirm it.
//!
//! Invariant: a revision that is new is asked about often enough, and late enough, that the answers are not those of the one
//! before: the controllers have had [`SETTLE`] to begin, and the last answer comes right before the blessing. A revision that has not reached the API for [`WITHIN`] is given up
//! when there is a proven one to go back to: nobody could come and mend it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::choice;
use super::engine::Engine;
use super::ground::Held;
use crate::resources::Condition;
use crate::resources::config_status::State;

/// A network of a data centre takes a minute to come up after its switches; a machine is not given up for that.
const WITHIN: Duration = Duration::from_secs(300);
/// Between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two questions, once the API was reached.
const AGAIN: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 2000 });
/// After a revision came into effect, before the first question: links go down and up, and the gateway gets new keys.
const SETTLE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 2000 });
/// So many answers in a row.
const ANSWERS: u32 = 3;

/// Asks the machine's own API by its own address; why it cannot be reached.
pub type Reach = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What came of one step.
#[derive(Debug)]
pub(super) enum Answer {
    /// The API answers.
    Reached,
    /// It does not, for this reason.
    NotYet(String),
    /// It does not, for [`WITHIN`].
    Never(String),
}

/// The questions about one revision.
pub(super) struct Prove {
    reach: Reach,
    since: Instant,
    /// Answers that are still missing.
    missing: u32,
    given_up: bool,
    question: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

impl Prove {
    /// One that was proven before needs one answer, at once: it has been in effect since the start.
    pub(super) fn new(reach: Reach, proven: bool) -> Self {
        let (missing, pause) = if proven { (1, Duration::ZERO) } else { (ANSWERS, SETTLE) };
        let question = ask(reach.clone(), pause);
        Self { reach, since: Instant::now(), missing, given_up: false, question }
    }

    /// Somebody has reached the machine: it is not given up any more for not reaching itself.
    pub(super) fn reached(&mut self) {
        self.given_up = true;
    }

    /// The next answer; never without anything to prove. Cancel-safe.
    pub(super) async fn next(prove: &mut Option<Self>) -> Answer {
        let Some(prove) = prove else { return std::future::pending().await };
        loop {
            match prove.question.as_mut().await {
                Answer::Reached => {
                    prove.since = Instant::now();
                    prove.missing = prove.missing.saturating_sub(1);
                    prove.question = ask(prove.reach.clone(), AGAIN);
                    if prove.missing == 0 {
                        return Answer::Reached;
                    }
                }
                Answer::NotYet(why) | Answer::Never(why) => {
                    prove.missing = prove.missing.max(1);
                    prove.question = ask(prove.reach.clone(), PAUSE);
                    let late = prove.since.elapsed() >= WITHIN && !prove.given_up;
                    prove.given_up |= late;
                    return if late { Answer::Never(why) } else { Answer::NotYet(why) };
                }
            }
        }
    }
}

fn ask(reach: Reach, pause: Duration) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        match reach().await {
            Ok(()) => Answer::Reached,
            Err(why) => Answer::NotYet(why),
        }
    })
}

impl Engine {
    pub(super) async fn proved(&mut self, answer: Answer) {
        match answer {
            Answer::NotYet(why) => {
                self.reason = format!("the machine has not reached its own API with it yet: {why}");
                self.tell();
            }
            Answer::Never(why) => self.unreached(&why).await,
            Answer::Reached => {
                // From here on it is no reason for a fallback that the machine is started often.
                let run = self.parts.meta.record().run.map(|run| choice::Run { attempts: 0, ..run });
                self.count(run).await;
                self.judge().await;
            }
        }
    }

    /// Blesses, or says what is missing.
    pub(super) async fn judge(&mut self) {
        let unmet: Vec<String> = self
            .parts
            .store
            .list::<Condition>()
            .iter()
            .filter(|found| found.id.starts_with(crate::documents::CONDITION) && !found.value.met)
            .map(|found| found.value.reason.clone())
            .collect();
        if !unmet.is_empty() {
            return self.become_state(State::Reached, unmet.join("; "));
        }
        if self.held == Some(Held::Recovery) {
            return self.become_state(State::Reached, "the recovery system runs, which proves nothing".into());
        }
        // Under the trial of a generation nothing is chosen or counted: META alone says what nobody has confirmed.
        let run = self.parts.meta.record().run.filter(|run| run.trial.is_some());
        if self.trial.is_some()
            || self.held.is_some() && run.is_some_and(|run| Some(run.revision) == self.active().revision)
        {
            let reason = "it is on trial: confirm it (apictl config confirm), or it goes by itself";
            return self.become_state(State::Reached, reason.into());
        }
        self.bless().await;
    }

    /// Records the revision in effect as proven.
    async fn bless(&mut self) {
        let Some(id) = self.active().revision else { return };
        let blessed = self.pointers().blessed;
        if blessed != Some(id) {
            let kept = self
                .with(move |revisions| {
                    revisions.point(|now| {
                        let newer = now.blessed.is_none_or(|blessed| blessed < id);
                        if newer {
                            // What was given up for an older one stays told until something newer is proven.
                            now.before = now.blessed;
                            now.given_up.clear();
                        } else {
                            now.before = now.before.filter(|before| *before < id);
                        }
                        now.blessed = Some(id);
                    })
                })
                .await;
            if let Err(error) = kept {
                let why = crate::trace::chain(&error);
                return self.become_state(State::Reached, format!("it is proven, but STATE does not keep that: {why}"));
            }
            self.count(Some(choice::Run { revision: id, attempts: 0, trial: None })).await;
            self.parts.events.info("config", format!("revision {id} is proven"));
            self.list().await;
        }
        self.belongs(id).await;
        self.prove = None;
        self.pending.proven();
        self.become_state(State::Blessed, String::new());
    }

    /// Nobody can reach this machine with its revision.
    async fn unreached(&mut self, why: &str) {
        if self.held.is_some() {
            // The trial of the generation ends by its own deadline.
            self.reason = format!("the machine does not reach its own API: {why}");
            return self.tell();
        }
        let pointers = self.pointers();
        let Some(blessed) = pointers.blessed.filter(|id| Some(*id) != pointers.current) else {
            self.reason = format!("the machine does not reach its own API: {why}");
            return self.tell();
        };
        let why = format!("the machine did not reach its own API within {} s: {why}", WITHIN.as_secs());
        self.go_back(blessed, &why).await;
    }
}
