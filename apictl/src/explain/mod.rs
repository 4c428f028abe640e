//! Why something is not as wanted: the chain from the document to what was made of it, to the controller, to what the kernel
//! says, with what is waited for. Pure: everything is in a [`Snapshot`].
//!
//! ```text
//! document --> specs (what is wanted) --> controllers (who makes it so) --> statuses (what is) --> waits, conditions, events
//! ```
//! The links of the chain are those that the node itself states: `origin` in specs and statuses, owners, what controllers
//! watch, and names of the same thing. So a new kind of resource is explained without a change here.

mod chain;
mod show;

pub(crate) use chain::explain;
pub(crate) use show::{document, text};

use crate::snapshot::Resource;

/// What was found for one subject.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Explained<'a> {
    /// `link eth0`, `document Link/eth0`.
    pub(crate) subject: String,
    /// Why it is not as wanted, the cause first; none: nothing says so.
    pub(crate) problems: Vec<String>,
    /// From the document on.
    pub(crate) steps: Vec<Step<'a>>,
}

/// One part of the chain.
#[derive(Debug, PartialEq)]
pub(crate) struct Step<'a> {
    pub(crate) role: Role,
    /// What it is about.
    pub(crate) what: String,
    /// What there is to say of it.
    pub(crate) says: Vec<String>,
    /// Something is wrong here.
    pub(crate) bad: bool,
    /// The resource, for programs.
    pub(crate) resource: Option<&'a Resource>,
}

/// Where in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Document,
    Configuration,
    Wanted,
    Controller,
    Actual,
    Waits,
    Condition,
    Event,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Configuration => "configuration",
            Self::Wanted => "wanted",
            Self::Controller => "controller",
            Self::Actual => "is",
            Self::Waits => "waits for",
            Self::Condition => "condition",
            Self::Event => "event",
        }
    }
}
