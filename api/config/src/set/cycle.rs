//! Links that are made of one another in a way they cannot be: in a circle, or bonds of bonds.

use std::collections::HashMap;

use crate::document::Document;
use crate::kind::Body;
use crate::yaml::Problem;

/// A problem for each document from which the links below lead back to itself.
pub(super) fn cycles(documents: &[Document]) -> Vec<Problem> {
    let mut below: HashMap<&str, Vec<&str>> = HashMap::new();
    for document in documents {
        let links = links(document).map(|(_, links)| links).unwrap_or_default();
        below.entry(document.name.as_deref().unwrap_or_default()).or_default().extend(links);
    }
    let mut problems = Vec::new();
    for document in documents {
        let Some((field, _)) = links(document) else { continue };
        let name = document.name.as_deref().unwrap_or_default();
        let (mut seen, mut left) = (Vec::new(), below.get(name).cloned().unwrap_or_default());
        while let Some(link) = left.pop() {
            if link == name {
                let message = "this leads back to the link itself: expected links that are there without it";
                problems.push(at(document, field, message));
                break;
            }
            if !seen.contains(&link) {
                seen.push(link);
                left.extend(below.get(link).into_iter().flatten());
            }
        }
    }
    problems
}

/// A problem for each bond that is a link of another: the kernel watches no links below a bond's own.
pub(super) fn bonds_of_bonds(documents: &[Document]) -> Vec<Problem> {
    let bond = |name: &str| {
        let mut all = documents.iter().filter(|document| matches!(document.body, Body::Bond(_)));
        all.any(|document| document.name.as_deref() == Some(name))
    };
    let mut problems = Vec::new();
    for document in documents {
        let Body::Bond(body) = &document.body else { continue };
        for (i, link) in body.links.iter().enumerate() {
            if document.name.as_deref() != Some(link) && bond(link) {
                let message =
                    format!("{link} is a bond: name the links of it here, a bond cannot be a link of another");
                problems.push(at(document, &format!("links[{i}]"), &message));
            }
        }
    }
    problems
}

fn at(document: &Document, path: &str, message: &str) -> Problem {
    let at = &document.at;
    Problem { file: at.file.clone(), document: at.document, line: at.line, ..Problem::of(path, message) }
}

/// The links that a link is made of, and the field that names them.
fn links(document: &Document) -> Option<(&'static str, Vec<&str>)> {
    match &document.body {
        Body::Bond(bond) => Some(("links", bond.links.iter().map(String::as_str).collect())),
        Body::Vlan(vlan) => Some(("link", vec![&vlan.link])),
        _ => None,
    }
}
