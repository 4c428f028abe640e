//! Resources for the tests of this crate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resource::{Column, Resource};

macro_rules! sample {
    ($name:ident, $singular:literal, $plural:literal, $aliases:expr) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name(pub(crate) u32);

        impl Resource for $name {
            const TYPE: &'static str = $singular;
            const PLURAL: &'static str = $plural;
            const ALIASES: &'static [&'static str] = $aliases;
            const DOC: &'static str = "A sample.";
            const COLUMNS: &'static [Column] = &[Column::new("VALUE", "")];
        }
    };
}

sample!(Link, "link", "links", &["iface"]);
sample!(Address, "address", "addresses", &[]);
sample!(Wait, "wait", "waits", &[]);
