//! One object as the store keeps it: a value of a type that the store does not know.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::resource::{Object, ObjectPhase, RawObject, Resource};

/// A value whose type only its producer and its readers know.
pub(crate) trait Value: Any + Send + Sync {
    fn json(&self) -> serde_json::Value;
    fn same(&self, other: &dyn Any) -> bool;
}

impl<R: Resource> Value for R {
    fn json(&self) -> serde_json::Value {
        // Fails only for maps with keys that are no strings: then the reader is told, rather than nobody.
        serde_json::to_value(self).unwrap_or_else(|error| serde_json::json!({ "unprintable": error.to_string() }))
    }

    fn same(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<R>() == Some(self)
    }
}

/// One object; immutable, a change replaces it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) owner: &'static str,
    pub(crate) phase: ObjectPhase,
    pub(crate) value: Arc<dyn Value>,
    /// Who keeps it from vanishing.
    pub(super) holds: BTreeSet<&'static str>,
    /// Put while it was tearing down: takes the object's place once everybody has let go of the old one.
    pub(super) successor: Option<Arc<dyn Value>>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} of {} ({})", self.id, self.version, self.owner, self.phase)
    }
}

impl Entry {
    pub(crate) fn typed<R: Resource>(&self) -> Option<Object<R>> {
        let value: Arc<dyn Any + Send + Sync> = Arc::clone(&self.value) as _;
        let value = value.downcast::<R>().ok()?;
        Some(Object { id: self.id.clone(), version: self.version, owner: self.owner, phase: self.phase, value })
    }

    pub(crate) fn raw(&self, type_name: &'static str) -> RawObject {
        RawObject {
            type_name,
            id: self.id.clone(),
            version: self.version,
            owner: self.owner,
            phase: self.phase,
            value: self.value.json(),
        }
    }
}
