//! A place where this machine's configuration may come from, and what came of it. Written by `platform`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a source says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// It is being looked at.
    Looking,
    /// The configuration is from there.
    Used,
    /// It holds nothing.
    Nothing,
    /// It holds something that cannot be used, or does not answer: maintenance stays closed.
    Wrong,
    /// Nobody looks, since the configuration is from elsewhere, or an earlier one is wrong.
    Skipped,
}

/// One source; the order of ids is the order in which they are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSource {
    /// As consoles call it: `state`, `image`, `nocloud`, `nocloud-url`, `maintenance`.
    pub source: String,
    /// What it says.
    pub state: State,
    /// Where it was found, why it holds nothing, or what is wrong, where, and what to do.
    pub reason: String,
    /// What the platform calls this machine; empty when it does not say.
    pub instance_id: String,
}

impl Resource for ConfigSource {
    const TYPE: &'static str = "config-source";
    const PLURAL: &'static str = "config-sources";
    const DOC: &'static str = "Where this machine's configuration is from, and why it is not from elsewhere.";
    const COLUMNS: &'static [Column] =
        &[Column::new("STATE", "/state"), Column::new("REASON", "/reason"), Column::wide("INSTANCE", "/instanceId")];
}

impl State {
    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Looking => "looking",
            Self::Used => "used",
            Self::Nothing => "nothing",
            Self::Wrong => "wrong",
            Self::Skipped => "skipped",
        }
    }
}
