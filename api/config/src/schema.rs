//! The JSON Schema (2020-12) of one document, made from the types: strict, as the parser is.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::API_VERSION;
use crate::document::Document;
use crate::kind::KINDS;
use crate::secrets::Secrets;

/// The schema of a document of any kind.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut kinds = Vec::new();
    for entry in KINDS {
        let mut body = (entry.schema)(&mut generator);
        head(&mut body, entry.kind, entry.named.then_some(entry.name));
        body.insert("description".into(), entry.doc.into());
        let examples = entry.examples.iter().filter_map(|text| crate::parse(text).ok());
        let examples: Vec<_> =
            examples.flat_map(|s| s.documents.iter().map(Document::whole).collect::<Vec<_>>()).collect();
        body.insert("examples".into(), examples.into());
        kinds.push((entry.kind.to_owned(), body));
    }
    let mut secrets = Secrets::json_schema(&mut generator);
    head(&mut secrets, Secrets::KIND, None);
    kinds.push((Secrets::KIND.to_owned(), secrets));

    let any: Vec<_> = kinds.iter().map(|(kind, _)| json!({ "$ref": format!("#/$defs/{kind}") })).collect();
    let mut defs: Map<String, Value> = generator.take_definitions(true);
    defs.extend(kinds.into_iter().map(|(kind, body)| (kind, Value::from(body))));
    let mut whole = Schema::default();
    whole.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    whole.insert("title".into(), "A document of Stele".into());
    whole.insert("oneOf".into(), any.into());
    whole.insert("$defs".into(), defs.into());
    Strict.transform(&mut whole);
    Value::from(whole)
}

/// Adds what every document begins with.
fn head(body: &mut Schema, kind: &str, name: Option<&str>) {
    body.remove("title");
    let mut properties = Map::new();
    properties.insert("apiVersion".into(), json!({ "const": API_VERSION }));
    properties.insert("kind".into(), json!({ "const": kind }));
    if let Some(name) = name {
        properties.insert("name".into(), json!({ "type": "string", "minLength": 1, "description": name }));
    }
    if let Some(Value::Object(own)) = body.remove("properties") {
        properties.extend(own);
    }
    let mut required = vec![json!("apiVersion"), json!("kind")];
    required.extend(name.map(|_| json!("name")));
    if let Some(Value::Array(own)) = body.remove("required") {
        required.extend(own);
    }
    body.insert("type".into(), "object".into());
    body.insert("properties".into(), properties.into());
    body.insert("required".into(), required.into());
}

/// What an address is made of; the parser knows it exactly.
const ADDRESS: &str = "^[0-9a-fA-F.:]+$";

/// No field is taken that is not declared; and no `format`: validators refuse those that they do not know, some know none, and
/// those of schemars ("ip", "uint16") are in no draft.
struct Strict;

impl Transform for Strict {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema.insert("additionalProperties".into(), false.into());
        }
        if schema.remove("format").is_some_and(|format| format == "ip") {
            schema.insert("title".into(), "address".into());
            schema.insert("pattern".into(), ADDRESS.into());
        }
        transform_subschemas(self, schema);
    }
}

/// The fields that a kind knows at a path such as `routes[0]`; empty where it knows none, or takes any.
pub(crate) fn fields(kind: &str, path: &str) -> Vec<String> {
    // A stream may have a thousand fields that are wrong.
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema);
    let Some(definitions) = SCHEMA["$defs"].as_object() else { return Vec::new() };
    let Some(mut at) = definitions.get(kind) else { return Vec::new() };
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        let next = if part.ends_with(']') { at.get("items") } else { at.get("properties").and_then(|p| p.get(part)) };
        let Some(next) = next else { return Vec::new() };
        at = resolve(next, definitions);
    }
    let head = |name: &str| path.is_empty() && ["apiVersion", "kind", "name"].contains(&name);
    let fields = at.get("properties").and_then(Value::as_object);
    fields.map(|fields| fields.keys().filter(|name| !head(name)).cloned().collect()).unwrap_or_default()
}

/// Follows a reference, also that of an optional field.
pub(crate) fn resolve<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    let reference = match schema.get("anyOf").and_then(Value::as_array) {
        Some(any) => any.iter().find(|s| s.get("$ref").is_some()).unwrap_or(schema),
        None => schema,
    };
    let name = reference.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
    name.and_then(|name| definitions.get(name)).unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::schema;
    use crate::kind::KINDS;
    use crate::parse;

    #[test]
    fn a_stock_validator_takes_what_the_parser_takes() {
        let schema = schema();
        jsonschema::meta::validate(&schema).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for entry in KINDS {
            for example in entry.examples {
                let whole = parse(example).unwrap().documents.iter().next().unwrap().whole();
                let written: Value = serde_saphyr::from_str(example).unwrap();
                for document in [whole, written] {
                    let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
                    assert!(errors.is_empty(), "{}: {errors:?}\n{document:#}", entry.kind);
                    let wrong = [
                        ("nothing", json!(1)),
                        ("apiVersion", json!("v2")),
                        ("kind", json!("Nothing")),
                        ("name", if entry.named { json!("") } else { json!("a") }),
                    ];
                    for (field, value) in wrong {
                        let mut changed = document.clone();
                        changed[field] = value;
                        assert!(!validator.is_valid(&changed), "{} takes {field}\n{changed:#}", entry.kind);
                    }
                    let mut named = document.clone();
                    if named.as_object_mut().unwrap().remove("name").is_some() {
                        assert!(!validator.is_valid(&named));
                    }
                }
            }
        }
    }

    #[test]
    fn a_validator_that_refuses_what_it_does_not_know_takes_the_schema() {
        // Of the draft's vocabularies, those that are used. `format` is none: Ajv knows not one without a plug-in.
        const KNOWN: [&str; 23] = [
            "$defs",
            "$ref",
            "$schema",
            "additionalProperties",
            "anyOf",
            "const",
            "default",
            "description",
            "enum",
            "examples",
            "items",
            "maxItems",
            "maxLength",
            "maximum",
            "minItems",
            "minLength",
            "minimum",
            "oneOf",
            "pattern",
            "properties",
            "required",
            "title",
            "type",
        ];
        fn check(schema: &Value, path: &str) {
            for (keyword, value) in schema.as_object().into_iter().flatten() {
                assert!(KNOWN.contains(&keyword.as_str()), "{path}: {keyword}: {value}");
                let path = format!("{path}/{keyword}");
                match keyword.as_str() {
                    "properties" | "$defs" => {
                        value.as_object().unwrap().iter().for_each(|(name, one)| check(one, &format!("{path}/{name}")))
                    }
                    "anyOf" | "oneOf" => value.as_array().unwrap().iter().for_each(|one| check(one, &path)),
                    "items" | "additionalProperties" => check(value, &path),
                    _ => {}
                }
            }
        }
        check(&schema(), "");
    }

    #[test]
    fn what_is_inside_is_strict_too() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let link = |more: Value| {
            let mut link = json!({ "apiVersion": "stele/v1", "kind": "Link", "name": "eth0" });
            link.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            validator.is_valid(&link)
        };
        assert!(link(json!({ "mtu": 1500, "match": { "mac": "52:54:00:12:34:56" }, "routes": [{ "to": "default" }] })));
        for wrong in [
            json!({ "mtu": "1500" }),
            json!({ "mtu": 1 }),
            json!({ "match": { "mack": "x" } }),
            json!({ "match": { "mac": "52:54" } }),
            json!({ "routes": [{ "to": "default", "gw": 1 }] }),
            json!({ "addresses": ["192.0.2.5"] }),
            json!({ "routes": [{ "to": "default", "via": "gateway" }] }),
            json!({ "dhcp4": "yes" }),
        ] {
            assert!(!link(wrong.clone()), "{wrong}");
        }
        let secrets = json!({ "apiVersion": "stele/v1", "kind": "Secrets", "secrets": { "a": { "key": "x" } } });
        assert!(validator.is_valid(&secrets));
        let wrong = json!({ "apiVersion": "stele/v1", "kind": "Secrets", "secrets": { "a": { "kex": "x" } } });
        assert!(!validator.is_valid(&wrong));
    }
}
