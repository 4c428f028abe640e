//! From a tree with places to a typed value, or to all problems. A wrong value is noted, taken out, and the rest is tried
//! again, so that one mistake does not hide the next.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::Problem;
use super::node::Node;

/// More problems than anybody reads at once.
const MOST: usize = 100;

/// What is said of a field that no type knows.
pub(crate) const NO_FIELD: &str = "there is no such field";

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// `json` is what is decoded: the document, or what is left of it without its head.
pub(crate) fn decode<T: DeserializeOwned>(document: &Spanned<Node>, json: Value) -> Result<T, Vec<Problem>> {
    match decode_some(document, json) {
        (Some(value), problems) if problems.is_empty() => Ok(value),
        (_, problems) => Err(problems),
    }
}

/// As [`decode`], with the value also when all that is wrong is fields that do not exist.
pub(crate) fn decode_some<T: DeserializeOwned>(document: &Spanned<Node>, mut json: Value) -> (Option<T>, Vec<Problem>) {
    let mut problems: Vec<Problem> = Vec::new();
    let mut removed: Vec<Vec<Step>> = Vec::new();
    let value = loop {
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let result = T::deserialize(serde_ignored::Deserializer::new(
            serde_path_to_error::Deserializer::new(&json, &mut track),
            &mut |path: serde_ignored::Path<'_>| unknown.push(ignored(&path)),
        ));
        let error = match result {
            Ok(value) => {
                let whole = problems.is_empty();
                problems.extend(unknown.iter().map(|path| problem(document, path, NO_FIELD.into())));
                break whole.then_some(value);
            }
            Err(error) => error.to_string(),
        };
        let path = steps(&track.path());
        // What was taken out is missed, which is no news; and then nothing further can be tried.
        let missing = error.strip_prefix("missing field `").and_then(|e| e.split('`').next());
        let no_news = missing.is_some_and(|field| {
            let whole = [&path[..], &[Step::Key(field.to_owned())]].concat();
            removed.contains(&whole)
        });
        if !no_news {
            problems.push(problem(document, &path, safe(&error)));
        }
        if no_news || problems.len() >= MOST || !remove(&mut json, &path) {
            problems.extend(unknown.iter().map(|path| problem(document, path, NO_FIELD.into())));
            break None;
        }
        removed.push(path);
    };
    problems.sort_by_key(|p| (p.line, p.column));
    problems.dedup();
    (value, problems)
}

/// Takes serde's sentence without what it quotes of the source, in words for people.
pub(crate) fn safe(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    if let Some(at) = message.rfind(", expected ") {
        let (what, expected) = (&message[..at], &message[at + ", expected ".len()..]);
        return if what.starts_with("unknown variant") {
            format!("not one of those known: expected {}", expected.replace('`', ""))
        } else {
            format!("expected {}", plain(expected))
        };
    }
    match message.strip_prefix("missing field `").and_then(|m| m.strip_suffix('`')) {
        Some(field) => format!("the field {field} is missing"),
        None if message == "invalid IP address syntax" => "expected an address such as 192.0.2.5 or 2001:db8::5".into(),
        None => message.to_owned(),
    }
}

/// What serde calls a type, as a writer of YAML does.
fn plain(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "fields with values",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number, 0 or more",
        "socket address" => "an address with a port, such as 192.0.2.5:50000",
        "IP address" => "an address such as 192.0.2.5 or 2001:db8::5",
        other if other.starts_with("struct ") => "fields with values",
        other => other,
    }
}

pub(crate) fn problem(document: &Spanned<Node>, path: &[Step], message: String) -> Problem {
    let mut text = String::new();
    let mut node = document;
    let mut at = document.referenced;
    for step in path {
        match (step, &node.value) {
            (Step::Key(key), Node::Map(entries)) => {
                let Some((k, v)) = entries.iter().find(|(k, _)| k.value == *key) else { break };
                at = if matches!(v.value, Node::Scalar(_)) && v.referenced != Location::UNKNOWN {
                    v.referenced
                } else {
                    k.referenced
                };
                node = v;
            }
            (Step::Index(i), Node::List(items)) => {
                let Some(item) = items.get(*i) else { break };
                at = item.referenced;
                node = item;
            }
            _ => break,
        }
    }
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Index(i) => text.push_str(&format!("[{i}]")),
        }
    }
    // A field that does not exist is shown by its name, not by its value.
    if message == NO_FIELD {
        at = key_place(document, path).unwrap_or(at);
    }
    Problem { line: at.line(), column: at.column(), ..Problem::of(text, message) }
}

/// The steps of a path as problems write it: `addresses[0]`, `match.mac`.
pub(crate) fn path(text: &str) -> Vec<Step> {
    let step = |part: &str| match part.strip_suffix(']').and_then(|i| i.parse().ok()) {
        Some(index) => Step::Index(index),
        None => Step::Key(part.to_owned()),
    };
    text.split(['.', '[']).filter(|part| !part.is_empty()).map(step).collect()
}

fn key_place(document: &Spanned<Node>, path: &[Step]) -> Option<Location> {
    let mut node = document;
    let mut at = None;
    for step in path {
        (at, node) = match (step, &node.value) {
            (Step::Key(key), Node::Map(entries)) => {
                entries.iter().find(|(k, _)| k.value == *key).map(|(k, v)| (Some(k.referenced), v))?
            }
            (Step::Index(i), Node::List(items)) => (at, items.get(*i)?),
            _ => return at,
        };
    }
    at
}

fn steps(path: &serde_path_to_error::Path) -> Vec<Step> {
    use serde_path_to_error::Segment;
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { variant } => Some(Step::Key(variant.clone())),
        Segment::Unknown => None,
    };
    path.iter().filter_map(step).collect()
}

fn ignored(path: &serde_ignored::Path<'_>) -> Vec<Step> {
    use serde_ignored::Path;
    let (parent, step) = match path {
        Path::Root => return Vec::new(),
        Path::Seq { parent, index } => (parent, Some(Step::Index(*index))),
        Path::Map { parent, key } => (parent, Some(Step::Key(key.clone()))),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => (parent, None),
    };
    let mut steps = ignored(parent);
    steps.extend(step);
    steps
}

/// Removes what is at this path; false when it is the document itself.
fn remove(json: &mut Value, path: &[Step]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut at = json;
    for step in parents {
        let next = match step {
            Step::Key(key) => at.get_mut(key),
            Step::Index(i) => at.get_mut(*i),
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match (last, at) {
        (Step::Key(key), Value::Object(map)) => map.remove(key).is_some(),
        // Indexes of what follows must not move: an item of a list takes the list with it.
        (Step::Index(_), list @ Value::Array(_)) => {
            let removed = list.as_array().is_some_and(|l| !l.is_empty());
            *list = Value::Array(Vec::new());
            removed
        }
        _ => false,
    }
}
