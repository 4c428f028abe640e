//! `apictl schema`: the JSON Schema of documents, for editors and checks elsewhere.

use std::io::stdout;

use serde_json::{Value, json};

use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::App,
    objects,
};

/// Print the JSON Schema of documents, of all kinds or of one
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl schema > stele.schema.json\n  apictl schema Link -o yaml\n\n\
    An editor that reads JSON Schema then knows every field; for one that speaks YAML, write above the documents:\n  \
    # yaml-language-server: $schema=stele.schema.json")]
pub(crate) struct Args {
    /// A kind: Link, Hostname
    #[arg(value_name = "KIND")]
    kind: Option<String>,
}

pub(crate) fn run(app: &App, args: Args) -> Result {
    let format = format(app, &[Format::Json, Format::Yaml])?;
    let schema = match args.kind {
        None => config::schema(),
        Some(kind) => of(&kind)?,
    };
    let mut out = stdout().lock();
    if format == Format::Json { objects::json(&mut out, &schema) } else { objects::yaml(&mut out, &schema) }
}

fn of(kind: &str) -> Result<Value> {
    let mut schema = config::schema();
    let known: Vec<String> = schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|any| any["$ref"].as_str()?.rsplit('/').next().map(str::to_owned))
        .collect();
    let Some(kind) = known.iter().find(|known| known.eq_ignore_ascii_case(kind)) else {
        return Err(Failure::new(
            Code::NotFound,
            format!("there is no kind {kind:?}"),
            format!("there are: {}", known.join(", ")),
        ));
    };
    let definitions = schema["$defs"].take();
    Ok(json!({
        "$schema": schema["$schema"], "title": kind, "$ref": format!("#/$defs/{kind}"),
        "$defs": needed(&definitions, kind),
    }))
}

/// A definition and all that it refers to.
fn needed(definitions: &Value, first: &str) -> Value {
    let mut found = serde_json::Map::new();
    let mut open = vec![first.to_owned()];
    while let Some(name) = open.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let definition = &definitions[&name];
        refers(definition, &mut open);
        found.insert(name, definition.clone());
    }
    Value::Object(found)
}

fn refers(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            found.extend(reference.and_then(|text| text.strip_prefix("#/$defs/")).map(str::to_owned));
            fields.values().for_each(|value| refers(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| refers(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_brings_what_it_refers_to_and_no_more() {
        let schema = of("link").unwrap();
        assert_eq!(schema["$ref"], "#/$defs/Link");
        let definitions = schema["$defs"].as_object().unwrap();
        let mut named = Vec::new();
        refers(&schema, &mut named);
        assert!(named.iter().all(|name| definitions.contains_key(name)), "{named:?}");
        assert!(!definitions.contains_key("Hostname"));
        assert!(of("Lnk").unwrap_err().remedy.contains("Hostname, Link"));
    }
}
