//! A reset as META's record keeps it: wished for, due, done. Pure.
//!
//! ```text
//! (nothing) --asked for--> wished --another boot--> due --everything is wiped--> done, and the identity with it
//!                            \--taken back (the stop was refused)--> (nothing)
//! ```
//! Invariant: a wish is due in every boot but the one in which it was made, until it is done; what it wipes is forgotten here in
//! the same write that ends it. What belongs to the boot chain (versions, floor, failed generations, what installed the disk)
//! is never forgotten.

use serde::{Deserialize, Serialize};

use super::record::Record;

/// What is to be wiped. No list of names: a release that knows more adds a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Configuration, secrets, identity.
    #[serde(default)]
    pub state: bool,
    /// Everything under /var.
    #[serde(default)]
    pub ephemeral: bool,
}

/// A wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// What.
    pub scope: Scope,
    /// The machine switches off afterwards.
    #[serde(default)]
    pub off: bool,
    /// Who asked and why.
    pub cause: String,
    /// The boot in which it was asked for.
    pub boot: String,
    /// Seconds since 1970 by the machine's clock.
    pub time_unix: u64,
}

/// The last one that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What.
    pub scope: Scope,
    /// Who asked and why.
    pub cause: String,
    /// The boot that did it.
    pub boot: String,
    /// Seconds since 1970 by the machine's clock.
    pub time_unix: u64,
}

impl Scope {
    /// Both, where either is wished.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { state: self.state || other.state, ephemeral: self.ephemeral || other.ephemeral }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match (self.state, self.ephemeral) {
            (true, true) => "STATE and EPHEMERAL",
            (true, false) => "STATE",
            (false, true) => "EPHEMERAL",
            (false, false) => "nothing",
        }
    }
}

impl Record {
    /// The reset that has to be done before anything of the volumes is used.
    pub fn due(&self, boot: &str) -> Option<&Reset> {
        self.reset.as_ref().filter(|reset| reset.boot != boot)
    }

    /// Wishes; one that was not done yet is widened, and stays due where it is.
    pub fn wish(&mut self, reset: Reset) {
        self.reset = Some(match self.reset.take() {
            Some(before) => Reset { scope: reset.scope.and(before.scope), boot: before.boot, ..reset },
            None => reset,
        });
    }

    /// It is done. `made`: there is an EPHEMERAL, which now holds nothing. A wish that came meanwhile stays.
    pub fn reset_done(&mut self, reset: &Reset, made: bool, now: u64) {
        if self.reset.as_ref() == Some(reset) {
            self.reset = None;
        }
        if reset.scope.ephemeral {
            self.anew = made;
        }
        if reset.scope.state {
            self.configured = false;
            (self.run, self.rescue, self.ran, self.jobs) = (None, None, None, None);
        }
        let boot = self.boot.as_ref().map(|mark| mark.id.clone()).unwrap_or_default();
        self.was_reset = Some(Done { scope: reset.scope, cause: reset.cause.clone(), boot, time_unix: now });
    }

    /// A machine whose STATE is to be wiped is another one from its next start on: what it was called and what it showed itself
    /// as is made anew in the boot that wipes, and a job that was under way does not go on.
    pub(super) fn forget_identity_if_due(&mut self, boot: &str) {
        if self.due(boot).is_some_and(|reset| reset.scope.state) {
            (self.machine_id, self.identity, self.jobs) = (None, None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Identity;

    fn wish(state: bool, ephemeral: bool, boot: &str) -> Reset {
        let scope = Scope { state, ephemeral };
        Reset { scope, off: false, cause: "by a test".into(), boot: boot.into(), time_unix: 1 }
    }

    fn configured() -> Record {
        let identity = Identity { key: "KEY".into(), certificate: "C".into() };
        Record {
            machine_id: Some("old".into()),
            identity: Some(identity),
            configured: true,
            rescue: Some("RESCUE".into()),
            ran: Some(3),
            boots: Some(9),
            floor: Some("1.2.0".into()),
            installed: Some("document".into()),
            ..Record::default()
        }
    }

    #[test]
    fn it_is_due_in_every_boot_but_its_own_until_it_is_done() {
        let mut record = configured();
        record.wish(wish(true, false, "one"));
        assert_eq!(record.due("one"), None);
        record.wish(wish(false, true, "one"));
        assert_eq!(record.due("two").unwrap().scope.name(), "STATE and EPHEMERAL", "a second wish widens the first");
        let mut record = record.filled_from(&Record::default(), "two");
        assert_eq!((&record.machine_id, &record.identity), (&None, &None), "another machine");
        assert!(record.configured && record.rescue.is_some(), "until it is done");
        assert!(record.due("three").is_some());

        let due = record.due("two").unwrap().clone();
        record.reset_done(&due, true, 7);
        let forgotten = (record.configured, &record.rescue, record.ran, &record.reset, record.anew);
        assert_eq!(forgotten, (false, &None, None, &None, true));
        let kept = (record.boots, record.floor.as_deref(), record.installed.as_deref());
        assert_eq!(kept, (Some(9), Some("1.2.0"), Some("document")), "the boot chain's");
        let done = record.was_reset.unwrap();
        assert_eq!((&*done.boot, &*done.cause, done.time_unix), ("two", "by a test", 7));
    }

    #[test]
    fn ephemeral_alone_costs_no_identity() {
        let mut record = configured();
        record.wish(wish(false, true, "one"));
        let mut record = record.filled_from(&Record::default(), "two");
        let due = record.due("two").unwrap().clone();
        record.reset_done(&due, false, 7);
        assert_eq!(record.machine_id.as_deref(), Some("old"));
        assert!(record.configured && record.identity.is_some() && record.ran == Some(3) && !record.anew);
    }

    #[test]
    fn a_wish_that_came_meanwhile_stays() {
        let mut record = configured();
        record.wish(wish(false, true, "one"));
        let due = record.due("two").unwrap().clone();
        record.wish(wish(true, false, "two"));
        assert!(record.due("two").is_some(), "what is due stays due: nothing is mounted meanwhile");
        record.reset_done(&due, true, 7);
        assert!(record.due("three").unwrap().scope.state);
    }

    #[test]
    fn what_a_later_release_adds_is_no_damage() {
        let text = r#"{"scope":{"state":true,"more":1},"cause":"x","boot":"b","time_unix":1,"later":true}"#;
        let reset: Reset = serde_json::from_str(text).unwrap();
        assert!(reset.scope.state && !reset.off);
    }
}
