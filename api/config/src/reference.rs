//! The reference of all kinds as Markdown, made from the same types as the schema: `docs/config.md`.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::kind::KINDS;
use crate::schema::{resolve, schema};

const HEAD: &str = "\
# Documents

What a machine should be, as YAML: documents in one stream, apart by lines with `---`, in one file or several. Each has
`apiVersion: stele/v1` and `kind`; of kinds with a `name` there may be many. Fields that are not listed here are errors, and
so are two documents that decide the same thing. Text that has a meaning in YAML (`yes`, `1.10`, `0x10`) goes in quotes.

A stream is at most 1 MiB. Secrets are never in these documents: where one is needed, a document names it, and it is handed
over apart, in one document `kind: Secrets` whose `secrets` are a `certificate` and a `key`, or a `value`, by name.

`apictl schema` prints all this as JSON Schema. This page is made from the same source:
`UPDATE_DOCS=1 cargo test -p config reference`.
";

/// The reference of all kinds.
pub fn reference() -> String {
    let schema = schema();
    let none = Map::new();
    let definitions = schema["$defs"].as_object().unwrap_or(&none);
    let mut text = HEAD.to_owned();
    text.push_str("\n| kind | many | |\n|---|---|---|\n");
    for entry in KINDS {
        let first = entry.doc.split(". ").next().unwrap_or_default().trim_end_matches('.');
        let many = if entry.named { "by `name`" } else { "" };
        let anchor = entry.kind.to_lowercase();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| [{}](#{anchor}) | {many} | {first} |", entry.kind);
    }
    for entry in KINDS {
        let _ = write!(text, "\n## {}\n\n{}\n\n| field | | default | |\n|---|---|---|---|\n", entry.kind, entry.doc);
        fields(&definitions[entry.kind], "", definitions, &mut text);
        for (field, by) in entry.keyed {
            let _ = write!(text, "\nA patch merges the items of `{field}` by their `{by}`.\n");
        }
        for example in entry.examples {
            let _ = write!(text, "\n```yaml\n{example}```\n");
        }
    }
    text
}

/// A row for each field, those of what it holds after it.
fn fields(schema: &Value, path: &str, definitions: &Map<String, Value>, text: &mut String) {
    let Some(properties) = schema["properties"].as_object() else { return };
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|r| r == name));
    let name = properties.iter().filter(|(name, _)| *name == "name" && path.is_empty());
    let head = |name: &str| ["apiVersion", "kind"].contains(&name) || (name == "name" && path.is_empty());
    for (name, field) in name.chain(properties.iter().filter(|(name, _)| !head(name))) {
        let inner = resolve(field, definitions);
        let description = field["description"].as_str().or(inner["description"].as_str()).unwrap_or_default();
        let default = match &field["default"] {
            _ if required(name) => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            Value::Array(items) if items.is_empty() => String::new(),
            Value::String(text) => format!("`{text}`"),
            value => format!("`{value}`"),
        };
        let words = description.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let _ = writeln!(text, "| `{path}{name}` | {} | {default} | {words} |", kind(field, definitions));
        fields(inner, &format!("{path}{name}."), definitions, text);
        if let Some(items) = inner.get("items") {
            fields(resolve(items, definitions), &format!("{path}{name}[]."), definitions, text);
        }
    }
}

/// What a field takes, in words.
fn kind(field: &Value, definitions: &Map<String, Value>) -> String {
    let schema = resolve(field, definitions);
    if let Some(all) = variants(schema) {
        return all;
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        one => one.as_str().into_iter().collect(),
    };
    match types[..] {
        ["string"] => schema["title"].as_str().unwrap_or("text").into(),
        ["string", "integer"] => "text or number".into(),
        ["integer"] => match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            (Some(least), Some(most)) => format!("number, {least} to {most}"),
            _ => "number".into(),
        },
        ["boolean"] => "true, false".into(),
        ["array"] => format!("list: {}", kind(&schema["items"], definitions)),
        ["object"] => match schema.get("additionalProperties") {
            Some(values) if values.is_object() => format!("names with values: {}", kind(values, definitions)),
            _ => "fields".into(),
        },
        _ => String::new(),
    }
}

/// The words of an enum.
fn variants(schema: &Value) -> Option<String> {
    let of = |schema: &Value| match (&schema["enum"], &schema["const"]) {
        (Value::Array(all), _) => all.iter().filter_map(Value::as_str).map(|v| format!("`{v}`")).collect(),
        (_, Value::String(one)) => vec![format!("`{one}`")],
        _ => Vec::new(),
    };
    let all = match schema["oneOf"].as_array() {
        Some(some) => some.iter().flat_map(of).collect(),
        None => of(schema),
    };
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_is_as_generated() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.md");
        let made = super::reference();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == made, "docs/config.md is not as generated: UPDATE_DOCS=1 cargo test -p config reference");
    }
}
