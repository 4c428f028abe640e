//! How a node's configuration is doing, and what that means for a revision that is waited for.
//!
//! Invariant: `decide` is pure; it is asked again with every change of the resource `config-status`.

use api::v1::Object;
use serde::Deserialize;

use super::follow::Goal;
use crate::exit::{Code, Failure, Result};

/// The resource.
pub(super) const TYPE: &str = "config-status";

/// Its one object.
pub(super) const ID: &str = "config";

/// Of the resource, what matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    state: String,
    pub(super) reason: String,
    revision: u64,
    staged: u64,
    trial: Option<Trial>,
    pending_reboot: Vec<String>,
    given_up: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Trial {
    revision: u64,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing; this is how far it is.
    Wait(String),
    /// Nothing; it is in effect, and this keeps it from being proven.
    Stuck(String),
    /// It is on trial and was reached: confirm it.
    Confirm,
    /// It is where it should be.
    Done(String),
    /// The node went back.
    GivenUp(String),
}

pub(super) fn parse(object: &Object) -> Result<Status> {
    serde_json::from_str(&object.value)
        .map_err(|error| Failure::new(Code::Failed, format!("the node's {TYPE} cannot be read: {error}"), ""))
}

impl Status {
    /// The one in effect; 0: none.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn is_unconfigured(&self) -> bool {
        self.state == "unconfigured"
    }

    pub(super) fn is_looking(&self) -> bool {
        self.state == "looking"
    }

    /// What it means for a revision that was accepted.
    pub(super) fn decide(&self, revision: u64, goal: Goal) -> Decision {
        if self.given_up.starts_with(&format!("revision {revision} ")) {
            return Decision::GivenUp(self.given_up.clone());
        }
        if self.revision != revision {
            return Decision::Wait(match self.staged == revision {
                true => "comes with the reboot".into(),
                false => format!("revision {} is still in effect", self.revision),
            });
        }
        let trial = self.trial.as_ref().is_some_and(|trial| trial.revision == revision);
        match (self.state.as_str(), trial, goal) {
            ("blessed", ..) if self.pending_reboot.is_empty() => Decision::Done("in effect and proven".into()),
            ("blessed", ..) => {
                let waiting = self.pending_reboot.join(", ");
                Decision::Done(format!("in effect and proven; a reboot is needed for {waiting}"))
            }
            ("reached", true, Goal::Confirmed) => Decision::Confirm,
            ("reached", true, Goal::Trial) => Decision::Done("in effect, on trial".into()),
            ("reached", ..) => Decision::Stuck(format!("in effect, not proven yet: {}", self.reason)),
            (..) if self.reason.is_empty() => {
                Decision::Wait("in effect; the node tries whether it can be reached".into())
            }
            _ => Decision::Wait(format!("in effect; {}", self.reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_state_has_its_decision() {
        use Decision::*;
        let trial = r#"{"state":"reached","revision":7,"trial":{"revision":7,"back":6}}"#;
        let cases = [
            (r#"{"state":"blessed","revision":7}"#, Goal::Proven, Done("in effect and proven".into())),
            (r#"{"state":"proving","revision":7,"reason":"why"}"#, Goal::Proven, Wait("in effect; why".into())),
            (r#"{"state":"blessed","revision":6}"#, Goal::Proven, Wait("revision 6 is still in effect".into())),
            (r#"{"state":"blessed","revision":6,"staged":7}"#, Goal::Proven, Wait("comes with the reboot".into())),
            (trial, Goal::Confirmed, Confirm),
            (trial, Goal::Trial, Done("in effect, on trial".into())),
            (
                r#"{"state":"reached","revision":7,"reason":"why"}"#,
                Goal::Proven,
                Stuck("in effect, not proven yet: why".into()),
            ),
            (
                r#"{"state":"blessed","revision":6,"givenUp":"revision 7 was given up: why"}"#,
                Goal::Confirmed,
                GivenUp("revision 7 was given up: why".into()),
            ),
            (
                r#"{"state":"blessed","revision":7,"pendingReboot":["Link/a"],"givenUp":"revision 70 was"}"#,
                Goal::Proven,
                Done("in effect and proven; a reboot is needed for Link/a".into()),
            ),
        ];
        for (json, goal, expected) in cases {
            assert_eq!(status(json).decide(7, goal), expected, "{json}");
        }
    }

    fuzz::targets! {
        // What a node says of itself.
        config_status: |bytes| {
            let object = Object { value: String::from_utf8_lossy(bytes).into_owned(), ..Object::default() };
            let Ok(status) = parse(&object) else { return };
            for goal in [Goal::Proven, Goal::Trial, Goal::Confirmed] {
                let _ = status.decide(7, goal);
            }
        },
    }
}
