//! `kind: Sysctl`: settings of the kernel under `/proc/sys`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::word::{self, Text};
use crate::{Check, Kind};

/// Settings of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sysctl {
    /// Name and value. Names as in sysctl.d(5): `net.ipv4.ip_forward` or `net/ipv4/conf/eth0.10/forwarding`.
    pub settings: BTreeMap<String, Text>,
}

/// The path under `/proc/sys` of a setting's name as in sysctl.d(5): the first of `.` and `/` in it is what separates, the
/// other one stands for `.` inside of a part.
pub fn path(key: &str) -> Option<String> {
    let path: String = match key.find(['.', '/']) {
        Some(at) if key[at..].starts_with('.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        _ => key.to_owned(),
    };
    let part = |p: &str| {
        !p.is_empty() && p != "." && p != ".." && p.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'*' | b'?'))
    };
    let whole = path.split('/').all(part) && path.contains('/') && path.len() <= 255;
    whole.then_some(path)
}

/// Of one link, which machined sets for all it looks after; `all` and `default` are nobody's.
fn is_accept_ra(path: &str) -> bool {
    let link = path.strip_prefix("net/ipv6/conf/").and_then(|rest| rest.strip_suffix("/accept_ra"));
    link.is_some_and(|link| !matches!(link, "all" | "default"))
}

impl Kind for Sysctl {
    const KIND: &'static str = "Sysctl";
    const NAMED: bool = true;
    const NAME: &'static str = "Any name of yours for this group of settings.";
    const DOC: &'static str =
        "Settings of the kernel under `/proc/sys`. When a document goes, the values from before come back.";
    const EXAMPLES: &'static [&'static str] = &["apiVersion: stele/v1
kind: Sysctl
name: routing
settings:
  net.ipv4.ip_forward: 1
  net/ipv4/conf/eth0.10/rp_filter: 2
  vm.overcommit_memory: \"1\"
"];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        found.need("name", name.is_none_or(word::is_name), word::NAME);
        found.need("settings", !self.settings.is_empty(), "expected at least one setting");
        let mut paths = BTreeMap::new();
        for (key, value) in &self.settings {
            match path(key) {
                None => found.entry("settings", key, "expected a name such as net.ipv4.ip_forward"),
                Some(path) => {
                    if is_accept_ra(&path) {
                        let message = "the link's own document decides this: write acceptRa in its Link, Bond or Vlan";
                        found.entry("settings", key, message);
                    }
                    if let Some(before) = paths.insert(path, key) {
                        found.entry("settings", key, format!("this is the same setting as {before}: keep one"));
                    }
                }
            }
            // One page is what the kernel takes in one write.
            if value.len() > 4000 || value.contains(['\0', '\n']) {
                found.entry("settings", key, "expected one line of at most 4000 bytes");
            }
        }
    }

    fn claims(&self, _: Option<&str>) -> Vec<String> {
        self.settings.keys().filter_map(|key| path(key)).map(|path| format!("sysctl {path}")).collect()
    }
}
