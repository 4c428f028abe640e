//! `kind: KernelModule`: a module that is loaded though no device asks for it, or with parameters.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::word::Text;
use crate::{Check, Effect, Kind};

/// A module of the kernel that is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KernelModule {
    /// Parameters and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Text>,
}

fn is_module(text: &str) -> bool {
    (1..=55).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl Kind for KernelModule {
    const KIND: &'static str = "KernelModule";
    const NAMED: bool = true;
    const NAME: &'static str = "The module's name, such as `br_netfilter`.";
    const DOC: &'static str = "A module of the kernel that is loaded though no device asks for it, or with parameters. \
                               Parameters count when it is loaded; a module stays until the next boot.";
    const EXAMPLES: &'static [&'static str] = &[
        "apiVersion: stele/v1
kind: KernelModule
name: br_netfilter
",
        "apiVersion: stele/v1
kind: KernelModule
name: dummy
parameters:
  numdummies: 2
",
    ];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        let message = "expected the name of a module: 1 to 55 of letters, digits, - and _";
        found.need("name", name.is_none_or(is_module), message);
        for (key, value) in &self.parameters {
            let word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            if !word {
                found.entry("parameters", key, "expected letters, digits, - and _");
            }
            // They are handed over as one line of text, where a quote cannot be escaped.
            if value.len() > 1000 || value.contains(['"', '\0', '\n']) {
                found.entry("parameters", key, "expected one line of at most 1000 bytes, without quotes in it");
            }
        }
    }

    fn claims(&self, name: Option<&str>) -> Vec<String> {
        name.map(|name| format!("kernel module {}", name.replace('-', "_"))).into_iter().collect()
    }

    fn effect(before: Option<&Self>, _: Option<&Self>) -> Effect {
        if before.is_some() { Effect::Reboot } else { Effect::Live }
    }
}
