//! One document and a set of them: parsed, checked, in the order in which they were written.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::API_VERSION;
use crate::kind::{Body, Kind};

/// Where a document stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// The file; empty when there was only one text.
    pub file: String,
    /// Which document of the file, from 1.
    pub document: usize,
    /// Its first line, from 1; 0 when unknown.
    pub line: u64,
}

/// A document. Two are equal when they say the same, wherever they stood.
#[derive(Clone, Debug)]
pub struct Document {
    /// The name, of kinds that have one.
    pub name: Option<String>,
    /// Kind and fields.
    pub body: Body,
    /// Where it stood.
    pub at: At,
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.body) == (&other.name, &other.body)
    }
}

impl Document {
    /// A document that was written nowhere.
    pub fn of(name: Option<&str>, body: impl Into<Body>) -> Self {
        Self { name: name.map(str::to_owned), body: body.into(), at: At::default() }
    }

    /// `Hostname`, `Link/eth0`: no two documents of a set have the same.
    pub fn id(&self) -> String {
        id(self.kind(), self.name.as_deref())
    }

    /// As in `kind: Link`.
    pub fn kind(&self) -> &'static str {
        self.body.kind()
    }

    /// The fields, without `apiVersion`, `kind` and `name`.
    pub fn json(&self) -> Value {
        self.body.json()
    }

    /// As text that parses to the same document.
    pub fn format(&self) -> String {
        let name =
            self.name.as_ref().map(|name| yaml(&Map::from_iter([("name".to_owned(), Value::from(name.as_str()))])));
        format!("apiVersion: {API_VERSION}\nkind: {}\n{}{}", self.kind(), name.unwrap_or_default(), self.body.yaml())
    }

    /// The whole document.
    pub fn whole(&self) -> Value {
        let mut whole = Map::new();
        whole.insert("apiVersion".into(), API_VERSION.into());
        whole.insert("kind".into(), self.kind().into());
        whole.extend(self.name.clone().map(|name| ("name".to_owned(), name.into())));
        if let Value::Object(fields) = self.json() {
            whole.extend(fields);
        }
        Value::Object(whole)
    }
}

/// What a document of this kind and name is called.
pub(crate) fn id(kind: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{kind}/{name}"),
        None => kind.to_owned(),
    }
}

/// Documents that are right, each for itself and all together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    list: Vec<Document>,
}

impl Documents {
    /// Who calls this has checked them.
    pub(crate) fn new(list: Vec<Document>) -> Self {
        Self { list }
    }

    /// All, in the order in which they were written.
    pub fn iter(&self) -> std::slice::Iter<'_, Document> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of one kind.
    pub fn of<K: Kind>(&self) -> impl Iterator<Item = (&Document, &K)> {
        self.list.iter().filter_map(|document| Some((document, document.body.any().downcast_ref::<K>()?)))
    }

    /// By id: `Hostname`, `Link/eth0`.
    pub fn get(&self, id: &str) -> Option<&Document> {
        let (kind, name) = id.split_once('/').map_or((id, None), |(kind, name)| (kind, Some(name)));
        self.list.iter().find(|document| document.kind() == kind && document.name.as_deref() == name)
    }

    /// Names of all secrets that are referred to.
    pub fn secrets(&self) -> BTreeSet<String> {
        self.list.iter().flat_map(|document| document.body.secrets()).map(str::to_owned).collect()
    }
}

impl<'a> IntoIterator for &'a Documents {
    type Item = &'a Document;
    type IntoIter = std::slice::Iter<'a, Document>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The documents as text that parses to the same ones.
pub fn format(documents: &Documents) -> String {
    let texts: Vec<_> = documents.iter().map(Document::format).collect();
    texts.join("---\n")
}

/// A document that may be any value, as text: its head first.
#[cfg(feature = "edit")]
pub(crate) fn write(document: &Value) -> String {
    let mut rest = document.as_object().cloned().unwrap_or_default();
    let mut text = String::new();
    for key in ["apiVersion", "kind", "name"] {
        text.extend(rest.remove(key).map(|value| yaml(&Map::from_iter([(key.to_owned(), value)]))));
    }
    text + &yaml(&rest)
}

/// Fields as lines, none for none.
pub(crate) fn yaml(fields: &impl Serialize) -> String {
    let text = serde_saphyr::to_string(fields).unwrap_or_default();
    match text.trim_end() {
        "{}" => String::new(),
        text => format!("{text}\n"),
    }
}
