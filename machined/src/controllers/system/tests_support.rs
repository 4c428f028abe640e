//! A configuration for tests of this area.

use reconcile::Store;
use serde_json::Value;

use crate::resources::config_status::ConfigStatus;
use crate::resources::document::Document;

pub(in crate::controllers) fn document(kind: &str, name: &str, body: Value) -> Document {
    Document { kind: kind.into(), name: name.into(), line: 3, revision: 7, body }
}

/// It is known what the configuration is: these documents.
pub(in crate::controllers) fn decide(store: &Store, documents: &[Document]) {
    let writer = store.writer::<Document>("test").unwrap();
    for old in store.list::<Document>() {
        writer.remove(&old.id);
    }
    for document in documents {
        let id = if document.name.is_empty() {
            document.kind.clone()
        } else {
            format!("{}/{}", document.kind, document.name)
        };
        writer.put(&id, document.clone());
    }
    let status = ConfigStatus { decided: true, revision: 7, ..ConfigStatus::looking() };
    store.writer::<ConfigStatus>("test").unwrap().put(ConfigStatus::ID, status);
}

/// It is not known yet.
pub(in crate::controllers) fn undecided(store: &Store) {
    store.writer::<ConfigStatus>("test").unwrap().put(ConfigStatus::ID, ConfigStatus::looking());
}
