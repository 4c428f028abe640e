//! Who reads and writes what, drawn: for `apictl inspect controllers` and for the docs.
//!
//! Invariant: the same declarations give the same text, byte for byte. Made by the runtime, or without one (and without
//! any controller's value) by [`Graph::add`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::controller::Controller;
use crate::ports::{Access, Ports};
use crate::store::Claim;

/// What one controller declared; types by singular name, ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The controller.
    pub name: &'static str,
    /// Types it reads.
    pub watches: Vec<&'static str>,
    /// Types it reads and may keep from vanishing.
    pub holds: Vec<&'static str>,
    /// Types only it writes.
    pub owns: Vec<&'static str>,
    /// Types it writes beside others.
    pub shares: Vec<&'static str>,
}

/// The controllers, and the writers that are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Graph {
    controllers: BTreeMap<&'static str, Node>,
    /// By type: its writers.
    writers: BTreeMap<&'static str, BTreeMap<&'static str, Claim>>,
}

impl Graph {
    /// A graph without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what `C` declares.
    pub fn add<C: Controller>(&mut self) -> &mut Self {
        let mut ports = Ports::default();
        C::declare(&mut ports);
        let types = |access| {
            let types: BTreeSet<_> =
                ports.all().filter(|port| port.access == access).map(|port| port.type_name).collect();
            types.into_iter().collect()
        };
        let node = Node {
            name: C::NAME,
            watches: types(Access::Watch),
            holds: types(Access::Hold),
            owns: types(Access::Own),
            shares: types(Access::Share),
        };
        self.controllers.insert(C::NAME, node);
        self
    }

    /// Adds a producer that is no controller.
    pub fn add_writer(&mut self, type_name: &'static str, writer: &'static str, claim: Claim) -> &mut Self {
        if !self.controllers.contains_key(writer) {
            self.writers.entry(type_name).or_default().insert(writer, claim);
        }
        self
    }

    /// The controllers, ordered by name.
    pub fn controllers(&self) -> impl Iterator<Item = &Node> {
        self.controllers.values()
    }

    /// Types that somebody reads and nobody writes, with their readers: dead ends, or producers not yet started.
    #[must_use]
    pub fn unwritten(&self) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        let mut unwritten: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for node in self.controllers() {
            for type_name in node.watches.iter().chain(&node.holds) {
                unwritten.entry(*type_name).or_default().insert(node.name);
            }
        }
        for node in self.controllers() {
            for type_name in node.owns.iter().chain(&node.shares) {
                unwritten.remove(type_name);
            }
        }
        unwritten.retain(|type_name, _| !self.writers.contains_key(type_name));
        unwritten
    }

    /// In Graphviz's language: who acts is a box, types are ellipses, arrows follow the data.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph controllers {\n  rankdir=LR;\n");
        for name in self.actors() {
            let _ = writeln!(text, "  \"{name}\" [shape=box];");
        }
        for name in self.types() {
            // A writer may be named as a type is: "event".
            let _ = writeln!(text, "  \"type {name}\" [label=\"{name}\"];");
        }
        for Edge { actor, type_name, access } in self.edges() {
            let _ = match access {
                Access::Watch => writeln!(text, "  \"type {type_name}\" -> \"{actor}\";"),
                Access::Hold => writeln!(text, "  \"type {type_name}\" -> \"{actor}\" [style=bold];"),
                Access::Own => writeln!(text, "  \"{actor}\" -> \"type {type_name}\";"),
                Access::Share => writeln!(text, "  \"{actor}\" -> \"type {type_name}\" [style=dashed];"),
            };
        }
        text.push_str("}\n");
        text
    }

    /// For the docs: a Mermaid flowchart, then a table. Thick arrows are holds, dotted ones shared types.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from("```mermaid\nflowchart LR\n");
        for name in self.actors() {
            let _ = writeln!(text, "  {}[\"{name}\"]", mermaid_id(name));
        }
        for name in self.types() {
            let _ = writeln!(text, "  type_{}([\"{name}\"])", mermaid_id(name));
        }
        for edge in self.edges() {
            let (actor, kind) = (mermaid_id(edge.actor), format!("type_{}", mermaid_id(edge.type_name)));
            let _ = match edge.access {
                Access::Watch => writeln!(text, "  {kind} --> {actor}"),
                Access::Hold => writeln!(text, "  {kind} ==> {actor}"),
                Access::Own => writeln!(text, "  {actor} --> {kind}"),
                Access::Share => writeln!(text, "  {actor} -.-> {kind}"),
            };
        }
        text.push_str("```\n\n| controller | watches | holds | owns | shares |\n|---|---|---|---|---|\n");
        for node in self.controllers() {
            let cells = [&node.watches, &node.holds, &node.owns, &node.shares].map(|types| types.join(", "));
            let _ = writeln!(text, "| {} | {} |", node.name, cells.join(" | "));
        }
        if !self.writers.is_empty() {
            text.push_str("\n| type | written by, outside of the controllers |\n|---|---|\n");
            for (type_name, writers) in &self.writers {
                let writers: Vec<_> = writers.keys().copied().collect();
                let _ = writeln!(text, "| {type_name} | {} |", writers.join(", "));
            }
        }
        text
    }

    fn actors(&self) -> BTreeSet<&'static str> {
        self.controllers.keys().copied().chain(self.writers.values().flat_map(BTreeMap::keys).copied()).collect()
    }

    fn types(&self) -> BTreeSet<&'static str> {
        self.edges().map(|edge| edge.type_name).collect()
    }

    fn edges(&self) -> impl Iterator<Item = Edge> {
        let nodes = self.controllers().flat_map(|node| {
            let parts = [
                (Access::Watch, &node.watches),
                (Access::Hold, &node.holds),
                (Access::Own, &node.owns),
                (Access::Share, &node.shares),
            ];
            parts.into_iter().flat_map(move |(access, types)| {
                types.iter().map(move |type_name| Edge { actor: node.name, type_name, access })
            })
        });
        let writers = self.writers.iter().flat_map(|(type_name, writers)| {
            writers.iter().map(|(actor, claim)| {
                let access = match claim {
                    Claim::Own => Access::Own,
                    Claim::Share => Access::Share,
                };
                Edge { actor, type_name, access }
            })
        });
        nodes.chain(writers)
    }
}

struct Edge {
    actor: &'static str,
    type_name: &'static str,
    access: Access,
}

/// Names of ours as Mermaid takes them.
fn mermaid_id(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
