//! What changes from one set of documents to another, and what that takes.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::document::{Document, Documents};
use crate::kind::{Body, Effect};

/// What happens to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// Its fields change.
    Changed,
}

/// A document that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The document: `Link/eth0`.
    pub id: String,
    /// What happens to it.
    pub action: Action,
    /// What that takes.
    pub effect: Effect,
    /// The fields that change: `addresses`, `certificates.server`. Of a document that comes or goes, those it has.
    pub fields: Vec<String>,
}

/// The changes from one set to another: first those to documents that were there, then the new ones, in their order.
pub fn changes(before: &Documents, after: &Documents) -> Vec<Change> {
    let change = |old: Option<&Document>, new: Option<&Document>| {
        let action = match (old, new) {
            (Some(old), Some(new)) if old == new => return None,
            (Some(_), Some(_)) => Action::Changed,
            (Some(_), None) => Action::Removed,
            (None, _) => Action::Added,
        };
        let json = |d: Option<&Document>| d.map_or(Value::Null, Document::json);
        let mut fields = BTreeSet::new();
        differ(&json(old), &json(new), "", &mut fields);
        let effect = Body::effect(old.map(|d| &d.body), new.map(|d| &d.body));
        Some(Change { id: old.or(new)?.id(), action, effect, fields: fields.into_iter().collect() })
    };
    let index = |documents: &'_ Documents| documents.iter().map(Document::id).collect::<HashSet<_>>();
    let were = index(before);
    let are: HashMap<_, _> = after.iter().map(|new| (new.id(), new)).collect();
    let old = before.iter().filter_map(|old| change(Some(old), are.get(&old.id()).copied()));
    let new = after.iter().filter(|new| !were.contains(&new.id())).filter_map(|new| change(None, Some(new)));
    old.chain(new).collect()
}

/// Paths of what differs; lists as a whole.
fn differ(old: &Value, new: &Value, path: &str, found: &mut BTreeSet<String>) {
    let none = Map::new();
    let maps = match (old, new) {
        (Value::Object(old), Value::Object(new)) => Some((old, new)),
        (Value::Object(old), Value::Null) if path.is_empty() => Some((old, &none)),
        (Value::Null, Value::Object(new)) if path.is_empty() => Some((&none, new)),
        _ => None,
    };
    match maps {
        Some((old, new)) => {
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                differ(&of(old), &of(new), &path, found);
            }
        }
        None if old != new => drop(found.insert(path.to_owned())),
        None => {}
    }
}
