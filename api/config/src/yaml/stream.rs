//! From text to trees. A document that is no YAML does not hide the others; neither does a key that is there twice.

use std::collections::HashMap;
use std::iter;

use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy};
use serde_saphyr::{Error, Location, Options};

use super::node::Node;
use super::strict;
use super::{Problem, Tree};

/// Bytes in one set of documents, its secrets included: many times what a machine needs, and soon read.
pub(crate) const MOST_BYTES: usize = 1 << 20;

/// Documents in one set: as many as a mebibyte of small ones.
pub(crate) const MOST_DOCUMENTS: usize = 10_000;

/// Lines that are read again, document by document, when one of them is no YAML.
const MOST_AGAIN: usize = 4 << 20;

/// The documents of a text, in order; what is no YAML at all is noted with the number of its document and left out. An empty
/// document is null.
pub(crate) fn read(text: &str) -> (Vec<Tree>, Vec<Problem>) {
    if text.len() > MOST_BYTES {
        let message = format!("this is longer than {} KiB, which is the most", MOST_BYTES >> 10);
        return (Vec::new(), vec![Problem::of("", message)]);
    }
    match whole(text) {
        Ok(found) => found,
        Err(error) => {
            let pieces = pieces(text);
            let again: usize = pieces.iter().map(|(line, piece)| line + piece.len()).sum();
            if pieces.len() < 2 || again > MOST_AGAIN {
                return (Vec::new(), vec![Problem { document: 1, ..no_yaml(&error) }]);
            }
            one_by_one(&pieces)
        }
    }
}

/// The text at once.
fn whole(text: &str) -> Result<(Vec<Tree>, Vec<Problem>), Error> {
    match saphyr(text, DuplicateKeyPolicy::Error) {
        Ok(trees) => Ok((trees, Vec::new())),
        Err(error) => {
            if !matches!(error.without_snippet(), Error::DuplicateMappingKey { .. }) {
                return Err(error);
            }
            let trees = saphyr(text, DuplicateKeyPolicy::LastWins)?;
            let mut problems = Vec::new();
            for (i, tree) in trees.iter().enumerate() {
                let start = problems.len();
                twice(tree, "", &mut problems);
                problems[start..].iter_mut().for_each(|problem| problem.document = i + 1);
            }
            // A key that is a number is not kept twice.
            if problems.is_empty() {
                problems.push(Problem { message: TWICE.into(), document: 1, ..no_yaml(&error) });
            }
            Ok((trees, problems))
        }
    }
}

const TWICE: &str = "this key is there before: keep one";

/// Each document by itself, behind as many empty lines as stood before it, so that places stay right.
fn one_by_one(pieces: &[(usize, &str)]) -> (Vec<Tree>, Vec<Problem>) {
    let (mut trees, mut problems) = (Vec::new(), Vec::new());
    for (line, piece) in pieces {
        let padded: String = iter::repeat_n('\n', *line).chain(piece.chars()).collect();
        let number = trees.len();
        match whole(&padded) {
            Ok((found, wrong)) => {
                problems.extend(wrong.into_iter().map(|p| Problem { document: number + p.document, ..p }));
                trees.extend(found);
            }
            Err(error) => {
                problems.push(Problem { document: number + 1, ..no_yaml(&error) });
                // Keeps the count of documents.
                trees.push(serde_saphyr::Spanned::new(Node::Scalar(Value::Null), Location::UNKNOWN, Location::UNKNOWN));
            }
        }
    }
    (trees, problems)
}

/// The documents of a stream with the number of lines before each.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut line = 0;
    let pieces = split(text).into_iter().map(|piece| {
        let first = line;
        line += piece.matches('\n').count();
        (first, piece)
    });
    // Comments before the first separator are no document.
    pieces.filter(|(_, piece)| piece.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#'))).collect()
}

/// A stream cut before each separator; together the pieces are the text. A line that begins with `---` ends a document even
/// inside of quotes (YAML 1.2, 9.1.2).
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if is_separator(line) && at > start {
            pieces.push(&text[start..at]);
            start = at;
        }
        at += line.len();
    }
    pieces.push(&text[start..]);
    pieces
}

pub(crate) fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn saphyr(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Vec<Tree>, Error> {
    // Aliases are for people who write by hand: a few, never a bomb.
    let mut budget = serde_saphyr::Budget::default();
    (budget.max_depth, budget.max_nodes, budget.max_documents) = (64, 400_000, MOST_DOCUMENTS);
    (budget.max_aliases, budget.max_anchors, budget.max_merge_keys) = (1_000, 1_000, 1_000);
    let mut limits = AliasLimits::default();
    (limits.max_total_replayed_events, limits.max_replay_stack_depth) = (50_000, 8);
    let mut options = Options::default();
    (options.with_snippet, options.duplicate_keys, options.budget) = (false, duplicate_keys, Some(budget));
    (options.strict_booleans, options.reject_unsupported_tags, options.alias_limits) = (true, true, limits);
    serde_saphyr::from_multiple_with_options(text, options)
}

/// What is said of more documents than [`MOST_DOCUMENTS`].
pub(crate) fn too_many() -> Problem {
    Problem::of("", format!("these are more than {MOST_DOCUMENTS} documents, which is the most"))
}

fn no_yaml(error: &Error) -> Problem {
    if matches!(error.without_snippet(), Error::Budget { breach: BudgetBreach::Documents { .. }, .. }) {
        return too_many();
    }
    let at = error.location().unwrap_or(Location::UNKNOWN);
    let message = strict::safe(&error.to_string());
    let message = if message.contains("tab") && !message.contains("table") {
        "YAML is indented with spaces: here is a tab".to_owned()
    } else {
        message
    };
    Problem { line: at.line(), column: at.column(), ..Problem::of("", message) }
}

/// Keys that are in one map twice.
fn twice(tree: &Tree, path: &str, problems: &mut Vec<Problem>) {
    match &tree.value {
        Node::Scalar(_) => {}
        Node::List(items) => {
            for (i, item) in items.iter().enumerate() {
                twice(item, &format!("{path}[{i}]"), problems);
            }
        }
        Node::Map(entries) => {
            let mut seen = HashMap::new();
            for (key, value) in entries {
                let path = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                let at = key.referenced;
                match seen.get(key.value.as_str()) {
                    Some(line) => {
                        let message = format!("this key is there before, at line {line}: keep one");
                        problems.push(Problem { line: at.line(), column: at.column(), ..Problem::of(&path, message) });
                    }
                    None => drop(seen.insert(key.value.as_str(), at.line())),
                }
                twice(value, &path, problems);
            }
        }
    }
}
