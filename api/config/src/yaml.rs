//! Strict YAML: every problem of every document at once, with document, path, line and column, and never any text of the
//! source, which may hold secrets. The only place that knows the YAML crate. Types parsed here do without serde's
//! `deny_unknown_fields`: unknown fields are found here, all of them.

pub(crate) mod node;
pub(crate) mod stream;
pub(crate) mod strict;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

use crate::kind::Check;
use node::Node;

/// One document, with the place of each part.
pub(crate) type Tree = Spanned<Node>;

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which of several files; empty when there is only one text.
    pub file: String,
    /// Which document of the stream, from 1.
    pub document: usize,
    /// Where in it: `limits.memory`, `listen[0].tcp`; empty for the document as a whole.
    pub path: String,
    /// From 1; 0 when unknown.
    pub line: u64,
    /// From 1; 0 when unknown.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Everything wrong in a stream of documents; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    /// A problem whose place is not known, or not yet.
    pub fn of(path: impl Into<String>, message: impl Into<String>) -> Self {
        let (path, message) = (path.into(), message.into());
        Self { file: String::new(), document: 0, path, line: 0, column: 0, message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}: ", self.file)?;
        }
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if self.document > 1 {
            write!(f, "document {}: ", self.document)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// Parses a stream of documents of one type.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Problems> {
    let (documents, mut problems) = stream::read(text);
    let mut values = Vec::new();
    for (i, document) in documents.into_iter().enumerate() {
        match strict::decode(&document, document.value.to_json()) {
            Ok(value) => values.push(value),
            Err(found) => problems.extend(found.into_iter().map(|p| Problem { document: i + 1, ..p })),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(Problems(problems)) }
}

/// Parses a text that is one document of a type, and turns it into something else; what is wrong with it beyond what the type
/// says is noted, each at its place. For formats of others; an empty text is none.
pub fn convert<T: DeserializeOwned, U>(
    text: &str,
    turn: impl FnOnce(T, &mut Check<'_>) -> U,
) -> Result<Option<U>, Problems> {
    let (mut trees, problems) = stream::read(text);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    trees.retain(|tree| !matches!(tree.value, Node::Scalar(serde_json::Value::Null)));
    let tree = match &trees[..] {
        [] => return Ok(None),
        [tree] => tree,
        [_, second, ..] => {
            let message = "expected one document only".to_owned();
            return Err(Problems(vec![strict::problem(second, &[], message)]));
        }
    };
    let value = strict::decode(tree, tree.value.to_json()).map_err(Problems)?;
    let mut check = Check::new(tree);
    let turned = turn(value, &mut check);
    let mut found = check.problems;
    found.sort_by_key(|p| (p.line, p.column));
    if found.is_empty() { Ok(Some(turned)) } else { Err(Problems(found)) }
}

#[cfg(test)]
mod tests;
