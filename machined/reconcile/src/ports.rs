//! What a controller may touch: declared once, enforced by the cycle, drawn by the graph.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::resource::Resource;
use crate::store::{Changes, Claim, ClaimError, Store};

/// A kind of access to a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Reads it; a change starts a cycle.
    Watch,
    /// Reads it, and may keep its objects from vanishing.
    Hold,
    /// Is the only one to write it.
    Own,
    /// Writes it beside others, its own objects only.
    Share,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Watch => "watch",
            Self::Hold => "hold",
            Self::Own => "own",
            Self::Share => "share",
        })
    }
}

/// One declared access, and what the runtime does with it, for a type it does not know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) access: Access,
    pub(crate) type_name: &'static str,
    pub(crate) watch: fn(&Store) -> Changes,
    pub(crate) claim: fn(&Store, &'static str) -> Result<(), ClaimError>,
    pub(crate) sweep: fn(&Store, &'static str, &BTreeSet<String>),
}

/// The declarations of one controller.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    ports: Vec<Port>,
}

impl Ports {
    /// Reads `R`; a change of it starts a cycle.
    pub fn watch<R: Resource>(&mut self) -> &mut Self {
        self.add::<R>(Access::Watch)
    }

    /// Reads `R` as `watch` does, and may hold its objects: what is held stays, tearing down, until it is released.
    pub fn hold<R: Resource>(&mut self) -> &mut Self {
        self.add::<R>(Access::Hold)
    }

    /// Writes `R`, alone. It may also read it.
    pub fn own<R: Resource>(&mut self) -> &mut Self {
        self.add::<R>(Access::Own)
    }

    /// Writes objects of `R` beside others. It may also read it, but changes by others start no cycle unless it watches.
    pub fn share<R: Resource>(&mut self) -> &mut Self {
        self.add::<R>(Access::Share)
    }

    fn add<R: Resource>(&mut self, access: Access) -> &mut Self {
        if !self.allows(R::TYPE, &[access]) {
            self.ports.push(Port {
                access,
                type_name: R::TYPE,
                watch: Store::watch::<R>,
                claim: match access {
                    Access::Own => |store, by| store.claim::<R>(by, Claim::Own),
                    Access::Share => |store, by| store.claim::<R>(by, Claim::Share),
                    Access::Watch | Access::Hold => |store, _| {
                        store.register::<R>();
                        Ok(())
                    },
                },
                sweep: |store, owner, keep| store.sweep::<R>(owner, keep),
            });
        }
        self
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter()
    }

    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| matches!(port.access, Access::Watch | Access::Hold))
    }

    pub(crate) fn outputs(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| matches!(port.access, Access::Own | Access::Share))
    }

    pub(crate) fn allows(&self, type_name: &str, any_of: &[Access]) -> bool {
        self.ports.iter().any(|port| port.type_name == type_name && any_of.contains(&port.access))
    }
}
