//! Brings the text of one document from one value to another, touching no more than what differs.

use std::str::FromStr;

use serde_json::{Map, Value};
use yaml_edit::{Document, Mapping, Sequence, YamlNode};

/// The text with the new value; nothing when it cannot be edited. The caller reads it again: the crate is young.
pub(super) fn edit(text: &str, old: &Value, new: &Value) -> Option<String> {
    let document = Document::from_str(text).ok()?;
    map(&document.as_mapping()?, old.as_object()?, new.as_object()?)?;
    let mut text = document.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Some(text)
}

fn map(mapping: &Mapping, old: &Map<String, Value>, new: &Map<String, Value>) -> Option<()> {
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        mapping.remove(key.as_str())?;
    }
    for (key, value) in new {
        match (old.get(key), value) {
            (Some(before), _) if before == value => {}
            (Some(Value::Object(old)), Value::Object(new)) => map(&mapping.get_mapping(key.as_str())?, old, new)?,
            (Some(Value::Array(old)), Value::Array(new)) if !old.is_empty() && !new.is_empty() => {
                list(&mapping.get_sequence(key.as_str())?, old, new)?;
            }
            _ => mapping.set(key.as_str(), node(value)?),
        }
    }
    Some(())
}

fn list(sequence: &Sequence, old: &[Value], new: &[Value]) -> Option<()> {
    // Items that go first, so that the comments of the others stay with them.
    let mut left = old.to_vec();
    if new.len() < old.len() {
        for i in (0..left.len()).rev() {
            if left.len() > new.len() && !new.contains(&left[i]) {
                sequence.remove(i)?;
                left.remove(i);
            }
        }
        if left.len() != new.len() {
            return None;
        }
    }
    for (i, value) in new.iter().enumerate() {
        match (left.get(i), value) {
            (Some(before), _) if before == value => {}
            (Some(Value::Object(old)), Value::Object(new)) => map(sequence.get(i)?.as_mapping()?, old, new)?,
            (Some(_), _) => sequence.set(i, node(value)?).then_some(())?,
            (None, _) => sequence.push(node(value)?),
        }
    }
    Some(())
}

/// A value as a node of a tree.
fn node(value: &Value) -> Option<YamlNode> {
    let text = serde_saphyr::to_string(&serde_json::json!({ "value": value })).ok()?;
    Document::from_str(&text).ok()?.get("value")
}
