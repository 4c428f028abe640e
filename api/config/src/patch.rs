//! Changes to the text of documents: strategic merge patches and RFC 6902. Text in, text out; what is not changed keeps its
//! comments and its form. Each result is read again: where an edit did not do what it should, that one document is written
//! anew without its comments.

mod edit;
mod merge;

use serde_json::{Map, Value};

use crate::document;
use crate::kind::KINDS;
use crate::yaml::node::Node;
use crate::yaml::{Problems, stream};

/// Why a patch does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What is to be patched is no YAML.
    #[error("what is to be patched is no YAML:\n{0}")]
    Text(Problems),
    /// The patch is none.
    #[error("the patch is no YAML:\n{0}")]
    Patch(Problems),
    /// A document of the patch does not say which one it is for.
    #[error("document {0} of the patch does not say what it changes: it needs kind, and name where the kind has one")]
    Which(usize),
    /// There is no such document.
    #[error("there is no document {id}: expected one of {}", .known.join(", "))]
    NoDocument {
        /// The one asked for.
        id: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// An operation is none, or cannot be done.
    #[error("this is no list of operations of RFC 6902: {0}")]
    Operations(String),
    /// An operation cannot be done.
    #[error("{id} stays as it is: {reason}")]
    Refused {
        /// The document.
        id: String,
        /// What does not hold.
        reason: String,
    },
}

/// Merges documents into those of the same kind and name. Fields replace fields, `null` removes one, maps are merged, lists
/// are replaced, but those that a kind tells apart by a field of their items are merged by it (routes by the family of `via`, and
/// `metric`, too, where there are several to one network). `$patch: delete` removes a
/// document or an item, `$patch: replace` puts a map in place of the old one. A document that is not there is added.
pub fn strategic(text: &str, patch: &str) -> Result<String, Error> {
    let mut file = File::read(text)?;
    let (trees, problems) = stream::read(patch);
    if !problems.is_empty() {
        return Err(Error::Patch(Problems(problems)));
    }
    for (i, tree) in trees.iter().enumerate() {
        let patch = match tree.value.to_json() {
            Value::Null => continue,
            Value::Object(patch) => patch,
            _ => return Err(Error::Which(i + 1)),
        };
        let id = id(&patch).ok_or(Error::Which(i + 1))?;
        let keyed = KINDS.iter().find(|entry| Some(entry.kind) == patch["kind"].as_str()).map_or(&[][..], |e| e.keyed);
        let at = file.pieces.iter().position(|piece| piece.id().as_ref() == Some(&id));
        match (merge::is_delete(&patch), at) {
            (true, Some(at)) => drop(file.pieces.remove(at)),
            (true, None) => return Err(file.no_document(id)),
            (false, Some(at)) => {
                let mut new = file.pieces[at].json.clone();
                merge::merge(&mut new, &Value::Object(patch), keyed).map_err(|reason| Error::Refused { id, reason })?;
                file.pieces[at].change(new);
            }
            (false, None) => file.add(merge::clean(&Value::Object(patch))),
        }
    }
    Ok(file.text())
}

/// The text of the document of this id, with its comments and without the line that separates it from the one before.
///
/// # Errors
/// There is none, or the text is no YAML.
pub fn one<'a>(text: &'a str, id: &str) -> Result<&'a str, Error> {
    let file = File::read(text)?;
    let Some(at) = file.pieces.iter().position(|piece| piece.id().is_some_and(|i| i == id)) else {
        return Err(file.no_document(id.to_owned()));
    };
    let piece = stream::split(text).get(at).copied().unwrap_or_default();
    let separator = piece.split_inclusive('\n').next().filter(|line| line.trim_end() == "---");
    Ok(&piece[separator.map_or(0, str::len)..])
}

/// Does operations of RFC 6902 (JSON, or YAML) to the document of this id: `Link/eth0`. Paths begin at the document: `/mtu`.
pub fn json(text: &str, id: &str, operations: &str) -> Result<String, Error> {
    let mut file = File::read(text)?;
    let (trees, problems) = stream::read(operations);
    if !problems.is_empty() {
        return Err(Error::Patch(Problems(problems)));
    }
    let [tree] = &trees[..] else { return Err(Error::Operations("expected one document with a list".into())) };
    let operations: json_patch::Patch =
        serde_json::from_value(tree.value.to_json()).map_err(|error| Error::Operations(error.to_string()))?;
    let Some(at) = file.pieces.iter().position(|piece| piece.id().is_some_and(|i| i == id)) else {
        return Err(file.no_document(id.to_owned()));
    };
    let mut new = file.pieces[at].json.clone();
    json_patch::patch(&mut new, &operations)
        .map_err(|error| Error::Refused { id: id.to_owned(), reason: error.to_string() })?;
    file.pieces[at].change(new);
    Ok(file.text())
}

/// A stream, cut into its documents.
struct File {
    pieces: Vec<Piece>,
}

struct Piece {
    text: String,
    /// Null where there is no document: comments.
    json: Value,
}

impl File {
    fn read(text: &str) -> Result<Self, Error> {
        let (_, problems) = stream::read(text);
        if !problems.is_empty() {
            return Err(Error::Text(Problems(problems)));
        }
        let piece = |text: &str| {
            let json = parsed(text).unwrap_or_default();
            Piece { text: text.to_owned(), json }
        };
        Ok(Self { pieces: stream::split(text).into_iter().map(piece).collect() })
    }

    fn add(&mut self, json: Value) {
        let text = format!("---\n{}", document::write(&json));
        self.pieces.push(Piece { text, json });
    }

    fn no_document(&self, id: String) -> Error {
        Error::NoDocument { id, known: self.pieces.iter().filter_map(Piece::id).collect() }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            // The first of them may have stood without a separator.
            if !text.trim().is_empty() && !stream::is_separator(&piece.text) {
                text.push_str("---\n");
            }
            text.push_str(&piece.text);
        }
        match text.strip_prefix("---\n") {
            Some(rest) if !self.pieces.first().is_some_and(|piece| piece.text.starts_with("---\n")) => rest.to_owned(),
            _ => text,
        }
    }
}

impl Piece {
    fn id(&self) -> Option<String> {
        id(self.json.as_object()?)
    }

    fn change(&mut self, new: Value) {
        if new == self.json {
            return;
        }
        let end = self.text.split_inclusive('\n').next().filter(|line| stream::is_separator(line)).map_or(0, str::len);
        let (head, body) = self.text.split_at(end);
        // What stands behind `---` on its line belongs to the document.
        let edited = if head.trim() == "---" || head.is_empty() { edit::edit(body, &self.json, &new) } else { None };
        let right = |text: &String| parsed(text).is_some_and(|json| json == new);
        let body = edited.filter(right).unwrap_or_else(|| document::write(&new));
        self.text = format!("{}{body}", if head.is_empty() { "" } else { "---\n" });
        self.json = new;
    }
}

/// The one document of a piece.
fn parsed(text: &str) -> Option<Value> {
    let (trees, problems) = stream::read(text);
    let mut values = trees.iter().filter(|tree| !matches!(tree.value, Node::Scalar(Value::Null)));
    let value = values.next()?.value.to_json();
    (problems.is_empty() && values.next().is_none()).then_some(value)
}

fn id(document: &Map<String, Value>) -> Option<String> {
    let kind = document.get("kind")?.as_str()?;
    Some(document::id(kind, document.get("name").and_then(Value::as_str)))
}

#[cfg(test)]
mod tests;
