//! One document and a set of them: parsed, checked, in the order in which they were written.

use std::collections::BTreeSet;
use std::fmt::Write;

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
    let mut text = String::new();
    for document in documents {
        let body = serde_saphyr::to_string(&document.whole()).unwrap_or_default();
        let separator = if text.is_empty() { "" } else { "---\n" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{body}");
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}
