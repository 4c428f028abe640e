//! Whatever happens to the connection and to the server's history: what was emitted adds up to what the server has.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// What happens between server and client.
#[derive(Clone, Debug)]
enum Step {
    /// An object gets a value.
    Put(u8, u8),
    /// An object goes.
    Delete(u8),
    /// The client reads this many messages.
    Read(u8),
    /// The connection breaks; what was not read is lost.
    Break,
    /// The server forgets everything: a restart of machined. Its controllers find the objects anew, but those with these
    /// bits; nobody is answered before they have looked.
    Restart(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4u8, 0..3u8).prop_map(|(id, value)| Step::Put(id, value)),
        2 => (0..4u8).prop_map(Step::Delete),
        4 => (0..4u8).prop_map(Step::Read),
        2 => Just(Step::Break),
        1 => (0..16u8).prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 0..60)
}

/// A server as `resource.proto` describes it.
#[derive(Default)]
struct Server {
    epoch: u64,
    now: BTreeMap<String, Object>,
    history: Vec<WatchEvent>,
    stream: VecDeque<WatchEvent>,
}

impl Server {
    fn bookmark(&self) -> String {
        format!("{}/{}", self.epoch, self.history.len())
    }

    fn change(&mut self, kind: Kind, object: Object) {
        let mut event = WatchEvent { kind: kind.into(), object: Some(object), bookmark: String::new() };
        self.history.push(event.clone());
        event.bookmark = self.bookmark();
        self.stream.push_back(event);
    }

    fn put(&mut self, id: u8, value: u8) {
        let version = self.history.len() as u64;
        let object = Object { id: id.to_string(), value: value.to_string(), version, ..Object::default() };
        self.now.insert(object.id.clone(), object.clone());
        self.change(Kind::Put, object);
    }

    fn delete(&mut self, id: u8) {
        if let Some(object) = self.now.remove(&id.to_string()) {
            self.change(Kind::Deleted, object);
        }
    }

    fn restart(&mut self, gone: u8) {
        self.epoch += 1;
        self.history.clear();
        for object in std::mem::take(&mut self.now).into_values() {
            let (id, value): (u8, u8) = (object.id.parse().unwrap(), object.value.parse().unwrap());
            if gone & (1 << id) == 0 {
                self.put(id, value);
            }
        }
    }

    fn open(&mut self, bookmark: &str) {
        self.stream.clear();
        let known = bookmark.split_once('/').filter(|(epoch, _)| *epoch == self.epoch.to_string());
        if let Some((_, at)) = known {
            let at: usize = at.parse().unwrap();
            for (index, event) in self.history.iter().enumerate().skip(at) {
                let bookmark = format!("{}/{}", self.epoch, index + 1);
                self.stream.push_back(WatchEvent { bookmark, ..event.clone() });
            }
        } else {
            self.stream.push_back(WatchEvent { kind: Kind::Reset.into(), ..WatchEvent::default() });
            let put = |object: &Object| WatchEvent {
                kind: Kind::Put.into(),
                object: Some(object.clone()),
                bookmark: String::new(),
            };
            self.stream.extend(self.now.values().map(put));
        }
        let bookmark = self.bookmark();
        self.stream.push_back(WatchEvent { kind: Kind::Synced.into(), object: None, bookmark });
    }
}

fn values(objects: &BTreeMap<String, Object>) -> BTreeMap<String, String> {
    objects.iter().map(|(id, object)| (id.clone(), object.value.clone())).collect()
}

proptest! {
    #[test]
    fn what_is_emitted_adds_up_without_repetition(steps in steps()) {
        let (mut server, mut watch, mut emitted) = (Server::default(), Watch::new("x", None), VecDeque::new());
        server.open("");
        for step in steps {
            match step {
                Step::Put(id, value) => server.put(id, value),
                Step::Delete(id) => server.delete(id),
                Step::Read(count) => {
                    for event in server.stream.drain(..usize::from(count).min(server.stream.len())) {
                        watch.take(event, &mut emitted);
                    }
                }
                Step::Break => {
                    watch.put_again = None;
                    server.open(watch.bookmark());
                }
                Step::Restart(gone) => {
                    server.restart(gone);
                    watch.put_again = None;
                    server.open(watch.bookmark());
                }
            }
        }
        for event in std::mem::take(&mut server.stream) {
            watch.take(event, &mut emitted);
        }
        prop_assert_eq!(values(watch.objects()), values(&server.now));
        let mut built: BTreeMap<String, String> = BTreeMap::new();
        for change in &emitted {
            match change {
                Change::Put(object) => {
                    let had = built.insert(object.id.clone(), object.value.clone());
                    prop_assert_ne!(had.as_ref(), Some(&object.value), "the same twice");
                }
                Change::Deleted(object) => prop_assert!(built.remove(&object.id).is_some(), "deleted twice"),
                Change::Synced => {}
            }
        }
        prop_assert_eq!(built, values(&server.now));
    }
}
