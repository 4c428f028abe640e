//! From streams to documents: the head of each, its fields, and what holds between them. Everything wrong at once.

mod cycle;

use std::collections::HashMap;

use serde_json::Value;

use crate::API_VERSION;
use crate::document::{At, Document, Documents};
use crate::kind::{Check, Entry, KINDS};
use crate::kinds::Api;
use crate::schema;
use crate::secrets::Secrets;
use crate::yaml::node::Node;
use crate::yaml::stream::{self, MOST_BYTES, MOST_DOCUMENTS};
use crate::yaml::strict::{self, Step};
use crate::yaml::{Problem, Problems, Tree};

/// What a stream holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// The documents.
    pub documents: Documents,
    /// The secrets, when the stream holds a document with them.
    pub secrets: Option<Secrets>,
}

/// Parses one text.
pub fn parse(text: &str) -> Result<Stream, Problems> {
    parse_files(&[(String::new(), text.to_owned())])
}

/// Parses what may not even be text.
pub fn parse_bytes(bytes: &[u8]) -> Result<Stream, Problems> {
    match str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|b| **b == b'\n').count() as u64 + 1;
            let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            let column = (before.len() - start) as u64 + 1;
            let message = "this is not UTF-8 text: save the file as UTF-8, or decompress it first";
            Err(Problems(vec![Problem { line, column, ..Problem::of("", message) }]))
        }
    }
}

/// Parses several texts, each with the name of its file, as one set.
pub fn parse_files(files: &[(String, String)]) -> Result<Stream, Problems> {
    let mut set = Set::default();
    if files.iter().map(|(_, text)| text.len()).sum::<usize>() > MOST_BYTES && files.len() > 1 {
        let message = format!("these files together are longer than {} KiB, which is the most", MOST_BYTES >> 10);
        return Err(Problems(vec![Problem::of("", message)]));
    }
    let read: Vec<_> = files.iter().map(|(_, text)| stream::read(text)).collect();
    // Each file alone may hold fewer.
    if read.iter().map(|(trees, _)| trees.len()).sum::<usize>() > MOST_DOCUMENTS {
        return Err(Problems(vec![stream::too_many()]));
    }
    for ((file, _), (trees, problems)) in files.iter().zip(read) {
        set.problems.extend(problems.into_iter().map(|p| Problem { file: file.clone(), ..p }));
        for (i, tree) in trees.iter().enumerate() {
            // A separator with nothing after it is no document.
            if !matches!(tree.value, Node::Scalar(Value::Null)) {
                let at = At { file: file.clone(), document: i + 1, line: line(tree) };
                set.take(tree, at);
            }
        }
    }
    set.problems.extend(cycle::cycles(&set.documents));
    set.problems.extend(cycle::bonds_of_bonds(&set.documents));
    if set.problems.is_empty() {
        Ok(Stream { documents: Documents::new(set.documents), secrets: set.secrets.map(|(secrets, _)| secrets) })
    } else {
        let more = set.problems.len().saturating_sub(MOST_PROBLEMS);
        if more > 0 {
            set.problems.truncate(MOST_PROBLEMS);
            set.problems.push(Problem::of("", format!("and {more} further problems")));
        }
        Err(Problems(set.problems))
    }
}

/// More than anybody reads, and what fits well into one answer.
const MOST_PROBLEMS: usize = 500;

/// What a machine needs before it leaves maintenance: somebody must be able to get in.
pub fn complete(documents: &Documents) -> Result<(), Problems> {
    let message = match documents.of::<Api>().next() {
        Some((_, api)) if !api.accept.is_empty() => return Ok(()),
        Some((document, _)) => {
            let message = "expected at least one authority: without one nobody could use the API again";
            let At { file, document, line } = document.at.clone();
            return Err(Problems(vec![Problem { file, document, line, ..Problem::of("accept", message) }]));
        }
        None => {
            "a document of kind Api is missing: it names the authorities whose clients are let in; apictl gen config \
                 writes it"
        }
    };
    Err(Problems(vec![Problem::of("", message)]))
}

#[derive(Default)]
struct Set {
    documents: Vec<Document>,
    secrets: Option<(Secrets, At)>,
    /// Where each id and each claim was first.
    ids: HashMap<String, At>,
    claims: HashMap<String, (String, At)>,
    problems: Vec<Problem>,
}

impl Set {
    fn take(&mut self, tree: &Tree, at: At) {
        let mut check = Check::new(tree);
        let read = self.read(tree, &at, &mut check);
        if let Some(document) = &read {
            document.body.check(document.name.as_deref(), &mut check);
        }
        let mut found = check.problems;
        if let Some(document) = read {
            // Without its name nothing can be told about it.
            if document.name.is_some() == KINDS.iter().any(|entry| entry.kind == document.kind() && entry.named) {
                found.extend(self.clashes(&document, tree));
            }
            self.documents.push(document);
        }
        found.sort_by_key(|p| (p.line, p.column));
        found.dedup();
        self.problems.extend(found.into_iter().map(|p| Problem { file: at.file.clone(), document: at.document, ..p }));
    }

    /// The document, as far as it can be read; what is wrong is noted.
    fn read(&mut self, tree: &Tree, at: &At, check: &mut Check<'_>) -> Option<Document> {
        let mut json = tree.value.to_json();
        let Value::Object(fields) = &mut json else {
            check.problem("", "expected fields, the first of them apiVersion: stele/v1");
            return None;
        };
        let mut head = |key: &str| fields.remove(key);
        match head("apiVersion") {
            Some(Value::String(version)) if version == API_VERSION => {}
            Some(_) => check.problem("apiVersion", "expected stele/v1"),
            None => check.problem("", "the field apiVersion is missing: expected stele/v1"),
        }
        let kind = match head("kind") {
            Some(Value::String(kind)) => kind,
            Some(_) => {
                check.problem("kind", "expected the name of a kind, such as Hostname");
                return None;
            }
            None => {
                check.problem("", "the field kind is missing: expected the name of a kind, such as Hostname");
                return None;
            }
        };
        if kind == Secrets::KIND {
            self.read_secrets(tree, json, at, check);
            return None;
        }
        let Some(entry) = KINDS.iter().find(|entry| entry.kind == kind) else {
            check.problem("kind", unknown(&kind));
            return None;
        };
        let name = name(entry, head("name"), tree, check);
        let (body, problems) = (entry.decode)(tree, json);
        check.problems.extend(problems.into_iter().map(|p| suggest(entry.kind, p)));
        Some(Document { name, body: body?, at: at.clone() })
    }

    fn read_secrets(&mut self, tree: &Tree, json: Value, at: &At, check: &mut Check<'_>) {
        match strict::decode::<Secrets>(tree, json) {
            Ok(secrets) => match &self.secrets {
                Some((_, first)) => {
                    check.problem("kind", format!("the secrets are {} already: keep one", place(first, at)))
                }
                None => self.secrets = Some((secrets, at.clone())),
            },
            Err(problems) => check.problems.extend(problems),
        }
    }

    /// What an earlier document decides already.
    fn clashes(&mut self, document: &Document, tree: &Tree) -> Vec<Problem> {
        let (id, at) = (document.id(), &document.at);
        let mut found = Vec::new();
        let mut note = |key: &str, message: String| {
            found.push(strict::problem(tree, &[Step::Key(key.into())], message));
        };
        if let Some(first) = self.ids.get(&id) {
            let remedy = if document.name.is_some() { "keep one, or give one another name" } else { "keep one" };
            let key = if document.name.is_some() { "name" } else { "kind" };
            note(key, format!("{id} is there already, {}: {remedy}", place(first, at)));
            return found;
        }
        self.ids.insert(id.clone(), at.clone());
        for claim in document.body.claims(document.name.as_deref()) {
            match self.claims.get(&claim) {
                Some((other, first)) if *other != id => {
                    let message = format!("{id} decides {claim}, and so does {other}, {}: keep one", place(first, at));
                    note(if document.name.is_some() { "name" } else { "kind" }, message);
                }
                _ => drop(self.claims.insert(claim, (id.clone(), at.clone()))),
            }
        }
        found
    }
}

fn name(entry: &Entry, name: Option<Value>, _tree: &Tree, check: &mut Check<'_>) -> Option<String> {
    match (entry.named, name) {
        (true, Some(Value::String(name))) if !name.is_empty() => return Some(name),
        (true, Some(_)) => check.problem("name", "expected text; put a name of digits in quotes"),
        (true, None) => check.problem("", format!("the field name is missing: a {} has one", entry.kind)),
        (false, Some(_)) => check.problem("name", format!("there is one {} only: it has no name", entry.kind)),
        (false, None) => {}
    }
    None
}

/// How to find another document.
fn place(other: &At, here: &At) -> String {
    let line = other.line;
    if other.file == here.file { format!("at line {line}") } else { format!("in {} at line {line}", other.file) }
}

fn unknown(kind: &str) -> String {
    let known = KINDS.iter().map(|entry| entry.kind).chain([Secrets::KIND]);
    let distance = |k: &str| strsim::damerau_levenshtein(&k.to_lowercase(), &kind.to_lowercase());
    match known.clone().map(|k| (distance(k), k)).min() {
        Some((distance, near)) if distance <= 2 => format!("there is no such kind: did you mean {near}?"),
        _ => format!("there is no such kind: expected one of {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Which field was meant, where one is near.
fn suggest(kind: &str, mut problem: Problem) -> Problem {
    if problem.message == strict::NO_FIELD {
        let (parent, field) = problem.path.rsplit_once('.').unwrap_or(("", &problem.path));
        let known = schema::fields(kind, parent);
        let near =
            known.iter().map(|k| (strsim::damerau_levenshtein(&k.to_lowercase(), &field.to_lowercase()), k)).min();
        match near {
            Some((distance, near)) if distance <= 2 => problem.message.push_str(&format!(": did you mean {near}?")),
            Some(_) => problem.message.push_str(&format!(": expected one of {}", known.join(", "))),
            None => {}
        }
    }
    problem
}

/// The line of the first key.
fn line(tree: &Tree) -> u64 {
    match &tree.value {
        Node::Map(entries) => entries.first().map_or(0, |(key, _)| key.referenced.line()),
        _ => tree.referenced.line(),
    }
}

#[cfg(test)]
mod frozen;
#[cfg(test)]
mod tests;
