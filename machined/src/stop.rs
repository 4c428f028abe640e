//! The one place where a stop of the machine is asked for and watched. The API, the power button and init's
//! Ctrl-Alt-Del ask; `boot` hears it and runs `shutdown`; the API shows the step under way.
//!
//! Invariant: a stop is never taken back, and the first request wins. Which was the first is for init to say, who may have
//! heard of one that nobody in here has yet: what it says [`Handle::stands`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What the machine does once everything has stopped. As text it is in META.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Start again through the firmware.
    Reboot,
    /// Switch off.
    PowerOff,
    /// Stop the processors, leave the power on.
    Halt,
}

impl Action {
    /// As people say it: "reboot".
    pub fn verb(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "power off",
            Self::Halt => "halt",
        }
    }
}

impl From<Action> for sys::link::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Reboot => Self::Reboot,
            Action::PowerOff => Self::PowerOff,
            Action::Halt => Self::Halt,
        }
    }
}

impl From<sys::link::Action> for Action {
    fn from(action: sys::link::Action) -> Self {
        match action {
            sys::link::Action::Reboot => Self::Reboot,
            sys::link::Action::PowerOff => Self::PowerOff,
            sys::link::Action::Halt => Self::Halt,
        }
    }
}

/// A wish to stop the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do in the end.
    pub action: Action,
    /// Who asked and why, for people: "reboot by 10.0.2.2: new kernel", "Ctrl-Alt-Del". Kept for the next boot.
    pub cause: String,
    /// Nothing is stopped in order: init ends what runs.
    pub at_once: bool,
}

impl Request {
    /// In order.
    pub fn new(action: Action, cause: impl Into<String>) -> Self {
        Self { action, cause: cause.into(), at_once: false }
    }
}

/// Whether the machine is on its way down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody asked for a stop.
    #[default]
    Running,
    /// Going down.
    Stopping {
        /// What was asked for.
        request: Arc<Request>,
        /// The step under way: "stopping service containerd", "unmounting".
        step: String,
    },
}

/// Asks for a stop, and watches one.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    state: Arc<watch::Sender<State>>,
}

impl Handle {
    /// A machine that runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a stop and returns at once with the request that counts: an earlier one when there was one.
    pub fn request(&self, request: Request) -> Arc<Request> {
        let request = Arc::new(request);
        let mut counts = request.clone();
        self.state.send_if_modified(|state| match state {
            State::Running => {
                *state = State::Stopping { request: request.clone(), step: "starting to stop".into() };
                true
            }
            State::Stopping { request, .. } => {
                counts = request.clone();
                false
            }
        });
        counts
    }

    /// init has said how the stop under way ends; returns the request as it stands.
    pub fn stands(&self, action: Action) -> Option<Arc<Request>> {
        self.state.send_if_modified(|state| match state {
            State::Stopping { request, .. } if request.action != action => {
                let cause = format!("{} was asked for first, then came: {}", action.verb(), request.cause);
                *request = Arc::new(Request { action, cause, at_once: request.at_once });
                true
            }
            _ => false,
        });
        match &*self.state.borrow() {
            State::Stopping { request, .. } => Some(request.clone()),
            State::Running => None,
        }
    }

    /// The state now and every later one; steps that pass quickly may be skipped.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until somebody asks for a stop. Cancel-safe.
    pub async fn requested(&self) -> Arc<Request> {
        let mut state = self.watch();
        loop {
            if let State::Stopping { request, .. } = &*state.borrow_and_update() {
                return request.clone();
            }
            if state.changed().await.is_err() {
                // Cannot happen: `self` holds the sender.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Says which step of the stop is under way, also in the log: its last lines are read after a stop that hung.
    pub fn step(&self, now: impl Into<String>) {
        let now = now.into();
        let stopping = self.state.send_if_modified(|state| match state {
            State::Running => false,
            State::Stopping { step, .. } => {
                step.clone_from(&now);
                true
            }
        });
        if stopping {
            tracing::info!("stop: {now}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_request_wins_and_everybody_hears_it() {
        let stop = Handle::new();
        assert_eq!(*stop.watch().borrow(), State::Running);
        stop.step("ignored before a request");
        let first = stop.request(Request::new(Action::Reboot, "first"));
        let second = stop.request(Request::new(Action::PowerOff, "second"));
        assert_eq!(first, second);
        assert_eq!(stop.requested().await.cause, "first");
        stop.step("unmounting");
        assert!(matches!(&*stop.watch().borrow(), State::Stopping { step, .. } if step == "unmounting"));
    }

    #[test]
    fn what_init_says_stands() {
        let stop = Handle::new();
        assert_eq!(stop.stands(Action::Reboot), None);
        stop.request(Request::new(Action::PowerOff, "power button"));
        assert_eq!(stop.stands(Action::PowerOff).unwrap().cause, "power button");
        let stands = stop.stands(Action::Reboot).unwrap();
        assert_eq!(stands.action, Action::Reboot);
        assert_eq!(stands.cause, "reboot was asked for first, then came: power button");
    }
}
