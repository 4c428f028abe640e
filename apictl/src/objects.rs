//! Resources as they are printed: as a table by the columns the node gives, as JSON, as YAML.
//!
//! Invariant: each object is `{"type","id","version","owner","phase","value"}`, with "node" when several nodes are
//! asked and "event" in a watch; the shape does not depend on the type.

use std::io::{self, Write};

use api::v1::{Column, Object, Type, object::Phase};
use serde::Serialize;
use serde_json::Value;

use crate::{
    cell::cell,
    cli::Format,
    exit::{Code, Failure, Result},
    text,
};

/// An object with where it is from.
pub(crate) struct Shown<'a> {
    pub(crate) node: Option<&'a str>,
    /// "put" or "deleted", in a watch.
    pub(crate) event: Option<&'static str>,
    pub(crate) object: &'a Object,
}

/// An object whose value was read.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    r#type: &'a str,
    id: &'a str,
    version: u64,
    owner: &'a str,
    phase: &'static str,
    value: Value,
}

impl<'a> Shown<'a> {
    /// Reads the value; fails when the node sent no JSON.
    pub(crate) fn document(&self) -> Result<Document<'a>> {
        let Self { node, event, object } = *self;
        let value = serde_json::from_str(&object.value).map_err(|error| {
            let (kind, id) = (text::plain(&object.r#type), text::plain(&object.id));
            Failure::new(Code::Failed, format!("{kind} {id}: the node's value is no JSON: {error}"), "")
        })?;
        let Object { r#type, id, version, owner, .. } = object;
        let phase = phase(object);
        Ok(Document { node, event, r#type, id, version: *version, owner, phase, value })
    }
}

impl Document<'_> {
    /// Its cells under the type's columns.
    pub(crate) fn cells(&self, columns: &[Column]) -> Vec<String> {
        let cells = columns.iter().map(|column| match column.pointer.as_str() {
            "" => self.id.to_owned(),
            pointer => self.value.pointer(pointer).map(|value| cell(pointer, value)).unwrap_or_default(),
        });
        let extra = self.node.into_iter().chain(self.event).map(str::to_owned);
        extra.chain(cells).collect()
    }
}

fn phase(object: &Object) -> &'static str {
    match object.phase() {
        Phase::Unspecified => "unknown",
        Phase::Running => "running",
        Phase::TearingDown => "tearing-down",
    }
}

/// The columns that a format shows; the id comes first.
pub(crate) fn columns(of: &Type, format: Format) -> Vec<Column> {
    let id = Column { header: "ID".into(), pointer: String::new(), wide: false };
    let has_id = of.columns.iter().any(|column| column.pointer.is_empty());
    let shown = of.columns.iter().filter(|column| format == Format::Wide || !column.wide).cloned();
    (!has_id).then_some(id).into_iter().chain(shown).collect()
}

/// Prints one value as JSON.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> Result {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    Ok(writeln!(out, "{}", text::json(&text))?)
}

/// Prints one value as one line of JSON.
pub(crate) fn json_line(out: &mut impl Write, value: &impl Serialize) -> Result {
    let text = serde_json::to_string(value).map_err(io::Error::other)?;
    writeln!(out, "{}", text::json(&text))?;
    Ok(out.flush()?)
}

/// Prints one value as YAML.
pub(crate) fn yaml(out: &mut impl Write, value: &impl Serialize) -> Result {
    // By way of JSON, and not of a tree: fields keep their order.
    let json = text::marked(&serde_json::to_string(value).map_err(io::Error::other)?);
    let mut json = serde_json::Deserializer::from_str(&json);
    let text = serde_saphyr::to_string(&serde_transcode::Transcoder::new(&mut json)).map_err(io::Error::other)?;
    Ok(write!(out, "{}", text::lines(&text::yaml(&text)))?)
}

/// Prints values as a list, or the one that was asked for alone.
pub(crate) fn documents(out: &mut impl Write, all: &[Document<'_>], alone: bool, format: Format) -> Result {
    match (format, all) {
        (Format::Yaml, [one]) if alone => yaml(out, one),
        (Format::Yaml, all) => yaml(out, &all),
        (_, [one]) if alone => json(out, one),
        (_, all) => json(out, &all),
    }
}

/// Prints one change of a watch.
pub(crate) fn change(out: &mut impl Write, document: &Document<'_>, format: Format) -> Result {
    if format == Format::Json {
        return json_line(out, document);
    }
    writeln!(out, "---")?;
    yaml(out, document)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Object {
        let value =
            r#"{"mac":"02:00","up":true,"flags":["a","b"],"deep":{"x":1},"none":null,"odd":"\u001b\u009b[2J\n# x: y"}"#;
        let (r#type, id, owner) = ("link".into(), "eth0".into(), "network/link".into());
        Object { r#type, id, version: 3, owner, phase: Phase::Running.into(), value: value.into() }
    }

    fn column(header: &str, pointer: &str, wide: bool) -> Column {
        Column { header: header.into(), pointer: pointer.into(), wide }
    }

    #[test]
    fn cells_follow_the_columns() {
        let of = Type {
            columns: vec![column("MAC", "/mac", false), column("UP", "/up", false), column("FLAGS", "/flags", true)],
            ..Type::default()
        };
        let object = link();
        let shown = Shown { node: Some("a"), event: None, object: &object }.document().unwrap();
        assert_eq!(shown.cells(&columns(&of, Format::Table)), ["a", "eth0", "02:00", "true"]);
        assert_eq!(shown.cells(&columns(&of, Format::Wide)), ["a", "eth0", "02:00", "true", "a,b"]);
        let rest = [column("", "/deep", false), column("", "/none", false), column("", "/gone", false)];
        assert_eq!(shown.cells(&rest), ["a", r#"{"x":1}"#, "", ""]);
    }

    #[test]
    fn documents_are_safe_and_say_the_same() {
        let object = link();
        let shown = [Shown { node: None, event: None, object: &object }.document().unwrap()];
        for format in [Format::Json, Format::Yaml] {
            let mut out = Vec::new();
            documents(&mut out, &shown, true, format).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(!text.contains(|char: char| char != '\n' && char.is_control()), "{text:?}");
            let back: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(back["value"]["odd"], "\u{1b}\u{9b}[2J\n# x: y", "{text}");
            assert_eq!((&back["id"], &back["version"]), (&"eth0".into(), &3.into()));
        }
        let mut out = Vec::new();
        change(&mut out, &shown[0], Format::Json).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
    /// Printed as YAML and read again.
    fn round_trip(value: &Value) -> Value {
        let mut out = Vec::new();
        yaml(&mut out, value).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text::lines(&text), text, "a terminal may obey it");
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn yaml_escapes_what_reorders_text_and_says_the_same() {
        let mut out = Vec::new();
        yaml(&mut out, &serde_json::json!({ "a": "x\u{202e}y" })).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a: \"x\\u202Ey\"\n");
        for text in
            ["\u{61c}", "\u{2066}\n\u{2069}", "\u{ffff}\u{202e}", "\\uFFFF\u{200f}", "\u{feff}\u{2028}", "\u{ffff}"]
        {
            let value = serde_json::json!({ "plain": 1, text: [text] });
            assert_eq!(round_trip(&value), value);
        }
    }

    fuzz::targets! {
        yaml_of_node_text: |bytes| {
            let value = serde_json::json!({ "text": String::from_utf8_lossy(bytes), "list": [1, null, ""] });
            assert_eq!(round_trip(&value), value);
        },
    }
}
