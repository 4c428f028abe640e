//! Links that are made of one another in a circle.

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
                let at = &document.at;
                let place = Problem {
                    file: at.file.clone(),
                    document: at.document,
                    line: at.line,
                    ..Problem::of(field, message)
                };
                problems.push(place);
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

/// The links that a link is made of, and the field that names them.
fn links(document: &Document) -> Option<(&'static str, Vec<&str>)> {
    match &document.body {
        Body::Bond(bond) => Some(("links", bond.links.iter().map(String::as_str).collect())),
        Body::Vlan(vlan) => Some(("link", vec![&vlan.link])),
        _ => None,
    }
}
