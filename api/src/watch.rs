//! Watches of resources that neither repeat nor skip a change, whatever happens to the connection or to machined.
//!
//! The protocol is in `resource.proto` (WatchEvent). Invariant of `Watch`: applying what it emitted, in order, gives
//! exactly `objects()`; two emitted changes of one object in a row always differ.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tonic::{Status, Streaming, transport::Channel};

use crate::{
    follow::Subject,
    v1::{Object, WatchEvent, WatchRequest, resource_client::ResourceClient, watch_event::Kind},
};

/// A change, as it is emitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The object is new, or is now like this.
    Put(Object),
    /// It is gone; this is how it was last.
    Deleted(Object),
    /// What was emitted is what the node has. After the first one and after each recovery.
    Synced,
}

/// The objects of a type, or one of them, and what was seen of them.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    kind: String,
    id: String,
    bookmark: String,
    objects: BTreeMap<String, Object>,
    /// Between RESET and SYNCED: the ids put again so far.
    put_again: Option<BTreeSet<String>>,
}

impl Watch {
    /// All objects of a type, or with an id that one.
    pub fn new(kind: impl Into<String>, id: Option<&str>) -> Self {
        Self { kind: kind.into(), id: id.unwrap_or_default().to_owned(), ..Self::default() }
    }

    /// The objects as far as they were emitted, by id.
    pub fn objects(&self) -> &BTreeMap<String, Object> {
        &self.objects
    }

    /// The bookmark to continue from; "" starts anew.
    pub fn bookmark(&self) -> &str {
        &self.bookmark
    }

    fn put(&mut self, object: Object, out: &mut VecDeque<Change>) {
        if let Some(again) = &mut self.put_again {
            again.insert(object.id.clone());
        }
        match self.objects.insert(object.id.clone(), object.clone()) {
            Some(had) if same(&had, &object) => {}
            _ => out.push_back(Change::Put(object)),
        }
    }

    fn synced(&mut self, out: &mut VecDeque<Change>) {
        if let Some(again) = self.put_again.take() {
            let gone: Vec<String> = self.objects.keys().filter(|id| !again.contains(*id)).cloned().collect();
            out.extend(gone.iter().filter_map(|id| self.objects.remove(id)).map(Change::Deleted));
        }
        out.push_back(Change::Synced);
    }
}

/// Whether they say the same. Versions start anew when machined does, so they do not count.
fn same(a: &Object, b: &Object) -> bool {
    a.value == b.value && a.phase == b.phase && a.owner == b.owner
}

impl Subject for Watch {
    type Message = WatchEvent;
    type Item = Change;

    async fn open(&mut self, channel: Channel) -> Result<Streaming<WatchEvent>, Status> {
        // A stream that broke between RESET and SYNCED is worth nothing: the next one starts with a RESET of its own.
        self.put_again = None;
        let request = WatchRequest { r#type: self.kind.clone(), id: self.id.clone(), bookmark: self.bookmark.clone() };
        Ok(ResourceClient::new(channel).watch(request).await?.into_inner())
    }

    fn take(&mut self, event: WatchEvent, out: &mut VecDeque<Change>) {
        let kind = event.kind();
        match (kind, event.object) {
            (Kind::Reset, _) => {
                self.put_again = Some(BTreeSet::new());
                // An older bookmark would replay changes older than what comes now.
                self.bookmark.clear();
            }
            (Kind::Put, Some(object)) => self.put(object, out),
            (Kind::Deleted, Some(object)) => {
                if let Some(again) = &mut self.put_again {
                    again.remove(&object.id);
                }
                if let Some(had) = self.objects.remove(&object.id) {
                    out.push_back(Change::Deleted(had));
                }
            }
            (Kind::Synced, _) => self.synced(out),
            // A kind of a later version, or no object: nothing this version could say.
            (Kind::Unspecified | Kind::Put | Kind::Deleted, _) => {}
        }
        if !event.bookmark.is_empty() && self.put_again.is_none() {
            self.bookmark = event.bookmark;
        }
    }
}

#[cfg(test)]
mod tests;
