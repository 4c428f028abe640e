//! The strategic merge, on values.

use serde_json::{Map, Value};

/// What tells the items of a list apart, by the list's field.
type Keyed = [(&'static str, &'static str)];

const PATCH: &str = "$patch";

/// Puts a patch over a value; an error says which item of the patch may mean several.
pub(super) fn merge(target: &mut Value, patch: &Value, keyed: &Keyed) -> Result<(), String> {
    match (&mut *target, patch) {
        (Value::Object(old), Value::Object(new)) if new.get(PATCH).and_then(Value::as_str) != Some("replace") => {
            for (key, value) in new.iter().filter(|(key, _)| *key != PATCH) {
                let by = keyed.iter().find(|(field, _)| field == key).map(|(_, by)| *by);
                match (value, by, old.get_mut(key)) {
                    (Value::Null, ..) => drop(old.remove(key)),
                    (Value::Object(map), ..) if is_delete(map) => drop(old.remove(key)),
                    (Value::Array(new), Some(by), Some(Value::Array(items))) => {
                        list(items, new, by, keyed).map_err(|why| format!("{key}: {why}"))?;
                    }
                    (_, _, Some(old)) => merge(old, value, keyed)?,
                    (_, _, None) => drop(old.insert(key.clone(), clean(value))),
                }
            }
        }
        _ => *target = clean(patch),
    }
    Ok(())
}

/// Merges items that are told apart by a field.
fn list(items: &mut Vec<Value>, patch: &[Value], by: &str, keyed: &Keyed) -> Result<(), String> {
    if patch.iter().any(|item| item.get(PATCH).and_then(Value::as_str) == Some("replace") && item.get(by).is_none()) {
        let marker = |item: &&Value| item.get(PATCH).is_none() || item.get(by).is_some();
        *items = patch.iter().filter(marker).map(clean).collect();
        return Ok(());
    }
    for new in patch {
        let delete = new.as_object().is_some_and(is_delete);
        match meant(items, new, by, delete)? {
            Some(at) if delete => drop(items.remove(at)),
            Some(at) => merge(&mut items[at], new, keyed)?,
            None if delete => {}
            None => {
                let new = clean(new);
                if !items.contains(&new) {
                    items.push(new);
                }
            }
        }
    }
    Ok(())
}

/// The item that one of a patch means. Routes may lead to one network by several ways (a default route for each family, or of
/// another metric): `via` and `metric` tell them apart as far as the patch gives them. What is deleted must have both as given;
/// what is changed may get another of one of them.
fn meant(items: &[Value], new: &Value, by: &str, delete: bool) -> Result<Option<usize>, String> {
    let Some(key) = new.get(by) else { return Ok(None) };
    let whole = clean(new);
    if let Some(at) = items.iter().position(|old| *old == whole) {
        return Ok(Some(at));
    }
    let other = |old: &Value, field: &str| matches!((old.get(field), new.get(field)), (Some(a), Some(b)) if a != b);
    let family = |item: &Value| item.get("via").and_then(Value::as_str).map(|via| via.contains(':'));
    let fits = |old: &Value| {
        old.get(by) == Some(key)
            && family(old).zip(family(new)).is_none_or(|(old, new)| old == new)
            && !(other(old, "via") && other(old, "metric"))
    };
    let equal = |old: &Value, field: &str| new.get(field).is_none_or(|new| old.get(field) == Some(new));
    let mut found: Vec<usize> = (0..items.len()).filter(|at| fits(&items[*at])).collect();
    if delete {
        found.retain(|at| equal(&items[*at], "via") && equal(&items[*at], "metric"));
    } else if found.len() > 1 && found.iter().any(|at| equal(&items[*at], "via")) {
        found.retain(|at| equal(&items[*at], "via"));
    }
    if found.len() > 1 {
        found.retain(|at| items[*at].get("metric") == new.get("metric"));
        if found.len() != 1 {
            return Err(format!("several fit {by}: {key}: give the via and metric of the one that is meant"));
        }
    }
    Ok(found.first().copied())
}

pub(super) fn is_delete(patch: &Map<String, Value>) -> bool {
    patch.get(PATCH).and_then(Value::as_str) == Some("delete")
}

/// A patch of what is not there: without directives, and without what it removes.
pub(super) fn clean(patch: &Value) -> Value {
    match patch {
        Value::Object(map) => {
            let kept = |(key, value): &(&String, &Value)| {
                *key != PATCH && !value.is_null() && !value.as_object().is_some_and(is_delete)
            };
            Value::Object(map.iter().filter(kept).map(|(key, value)| (key.clone(), clean(value))).collect())
        }
        Value::Array(items) => {
            items.iter().filter(|item| !item.as_object().is_some_and(is_delete)).map(clean).collect()
        }
        value => value.clone(),
    }
}
