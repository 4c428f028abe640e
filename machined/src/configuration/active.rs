//! The configuration in effect, for those who need more of it than documents in the store: the secrets, and whether it counts.

use std::sync::Arc;

use config::{Documents, Secrets};

use super::revisions::Id;
use crate::resources::config_status::State;

/// What is in effect.
#[derive(Clone, Debug)]
pub struct Active {
    /// How far it has come.
    pub state: State,
    /// The revision; none in maintenance, and while it is not known or cannot be read.
    pub revision: Option<Id>,
    /// Its documents.
    pub documents: Arc<Documents>,
    /// Why nothing can be read; empty in other states.
    pub why: String,
    /// Its secrets: only those that the documents name.
    pub secrets: Arc<Secrets>,
    /// The first configuration of all is being kept, and comes into effect once that is answered: META may say already that the
    /// machine is configured.
    pub taking: bool,
}

impl Active {
    /// Before anything is known.
    pub fn looking() -> Self {
        Self {
            state: State::Looking,
            revision: None,
            documents: Arc::default(),
            why: String::new(),
            secrets: Arc::default(),
            taking: false,
        }
    }

    /// Nothing is in effect, for this state's reason.
    pub fn nothing(state: State) -> Self {
        Self { state, ..Self::looking() }
    }

    /// Whether the documents are what counts, be they none.
    pub fn decided(&self) -> bool {
        self.state != State::Looking
    }
}
