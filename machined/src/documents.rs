//! How controllers read the configuration: the documents of one kind, each with where it comes from.
//!
//! Invariant: as long as it is not decided what the configuration is, nobody is told that there is none; a controller is
//! `Unready` then, so that a machine that starts never takes back what its configuration wants.

use config::Kind;
use reconcile::{Cycle, CycleError, Ports};

use crate::resources::Condition;
use crate::resources::config_status::ConfigStatus;
use crate::resources::document::Document;
use crate::resources::origin::Origin;

/// Ids of conditions that a document could not be applied, or could, begin with this: a revision is not proven with one that
/// is not met.
pub const CONDITION: &str = "document/";

/// Says whether a document could be applied: for who applies it, in every cycle. Empty: it could.
///
/// # Errors
/// `Condition` is not declared as shared.
pub fn tell(cx: &mut Cycle<'_>, origin: &Origin, why_not: &str) -> Result<(), CycleError> {
    let condition = match why_not {
        "" => Condition::met(format!("{origin} is applied")),
        why => Condition::unmet(format!("{origin}: {why}")),
    };
    cx.put(format!("{CONDITION}{}", origin.document), condition.optional())
}

/// A document, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured<K> {
    /// Its name; empty for kinds that are there once.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its fields.
    pub body: K,
}

/// What a controller that calls [`of`] has to declare.
pub fn declare(ports: &mut Ports) {
    ports.watch::<Document>().watch::<ConfigStatus>();
}

/// All documents of a kind, by id; `None` while it is not decided what the configuration is.
///
/// # Errors
/// The types are not declared: see [`declare`].
pub fn of<K: Kind>(cx: &mut Cycle<'_>) -> Result<Option<Vec<Configured<K>>>, CycleError> {
    let decided = cx.get::<ConfigStatus>(ConfigStatus::ID)?.is_some_and(|status| status.value.decided);
    if !decided {
        return Ok(None);
    }
    let documents = cx.list::<Document>()?.into_iter().filter(|found| found.value.kind == K::KIND);
    Ok(Some(documents.filter_map(|found| parse(&found.id, &found.value)).collect()))
}

fn parse<K: Kind>(id: &str, document: &Document) -> Option<Configured<K>> {
    let origin = Origin { document: id.to_owned(), line: document.line, revision: document.revision };
    match serde_json::from_value(document.body.clone()) {
        Ok(body) => Some(Configured { name: document.name.clone(), origin, body }),
        Err(error) => {
            // Cannot be: it was formatted from this type. Said, so that it would be seen.
            tracing::error!("the document {origin} cannot be used: {error}");
            None
        }
    }
}
