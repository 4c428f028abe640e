//! Any order of writes, holds, reads and reconnects: who follows the watch protocol has what the store has.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::resource::RawObject;

#[derive(Clone, Debug)]
enum Step {
    Put(usize, u32),
    Remove(usize),
    ReplaceAll(Vec<usize>),
    Hold(usize),
    Release(usize),
    /// The client reads at most so many events.
    Read(usize),
    /// The connection is lost; the client comes back with what it has.
    Reconnect,
    /// The client forgets its bookmark, but not its state.
    Amnesia,
    /// Another type changes, which uses up revisions.
    Noise,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..IDS.len();
    prop_oneof![
        6 => (id.clone(), 0..3_u32).prop_map(|(id, value)| Step::Put(id, value)),
        3 => id.clone().prop_map(Step::Remove),
        1 => vec(id.clone(), 0..4).prop_map(Step::ReplaceAll),
        2 => id.clone().prop_map(Step::Hold),
        2 => id.prop_map(Step::Release),
        6 => (0..6_usize).prop_map(Step::Read),
        2 => Just(Step::Reconnect),
        1 => Just(Step::Amnesia),
        1 => Just(Step::Noise),
    ]
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// A client as the protocol describes it.
struct Client {
    watch: RawWatch,
    objects: BTreeMap<String, RawObject>,
    bookmark: Option<String>,
    /// Between `Reset` and `Synced`: what was put so far.
    fresh: Option<BTreeMap<String, RawObject>>,
    /// The revision that the client has followed to without a gap.
    at: u64,
}

impl Client {
    fn new(store: &Store) -> Self {
        let watch = store.watch_raw("link", None).unwrap();
        Self { watch, objects: BTreeMap::new(), bookmark: None, fresh: None, at: 0 }
    }

    fn reconnect(&mut self, store: &Store) {
        self.watch = store.watch_raw("link", self.bookmark.as_deref()).unwrap();
        self.fresh = None;
    }

    fn read(&mut self, log: &BTreeMap<u64, RawChange>) -> bool {
        let Some(event) = self.watch.step() else { return false };
        let revision = event.bookmark.as_deref().map(|text| text.split_once('-').unwrap().1.parse::<u64>().unwrap());
        match (event.change, &mut self.fresh) {
            (RawChange::Reset, _) => self.fresh = Some(BTreeMap::new()),
            (RawChange::Put(object), Some(fresh)) => {
                let twice = fresh.insert(object.id.clone(), object);
                assert!(twice.is_none(), "put twice in one snapshot");
            }
            (RawChange::Deleted(_), Some(_)) => panic!("deleted within a snapshot"),
            (RawChange::Synced, fresh) => {
                if let Some(fresh) = fresh.take() {
                    self.objects = fresh;
                }
                self.at = revision.unwrap();
            }
            (change, None) => {
                let revision = revision.unwrap();
                let missed = log.range(self.at + 1..).next().map(|(revision, change)| (*revision, change.clone()));
                assert_eq!(missed, Some((revision, change.clone())), "a gap or a duplicate");
                self.at = revision;
                match change {
                    RawChange::Put(object) => self.objects.insert(object.id.clone(), object),
                    RawChange::Deleted(object) => {
                        Some(self.objects.remove(&object.id).expect("deleted what was never put"))
                    }
                    RawChange::Reset | RawChange::Synced => unreachable!(),
                };
            }
        }
        if event.bookmark.is_some() {
            self.bookmark = event.bookmark;
        }
        true
    }
}

/// Every change there ever was, from a watch that reads after each step.
fn record(log: &mut BTreeMap<u64, RawChange>, witness: &mut RawWatch) {
    while let Some(event) = witness.step() {
        assert!(matches!(event.change, RawChange::Put(_) | RawChange::Deleted(_)), "the witness is never late");
        let revision = event.bookmark.unwrap().split_once('-').unwrap().1.parse().unwrap();
        assert!(log.insert(revision, event.change).is_none(), "two changes with one revision");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_client_ends_with_the_store(steps in vec(step(), 0..60), kept in 8..12_usize) {
        let store = Store::remembering(kept);
        let links = store.writer::<Link>("net").unwrap();
        let noise = store.writer::<Address>("noise").unwrap();
        let mut witness = store.watch_raw("link", None).unwrap();
        prop_assert_eq!(drain(&mut witness).len(), 2);
        let mut log = BTreeMap::new();
        let mut client = Client::new(&store);
        for (at, step) in (0..).zip(steps) {
            match step {
                Step::Put(id, value) => links.put(IDS[id], Link(value)),
                Step::Remove(id) => links.remove(IDS[id]),
                Step::ReplaceAll(ids) => links.replace_all(ids.into_iter().map(|id| (IDS[id], Link(7)))),
                Step::Hold(id) => { store.hold::<Link>("holder", IDS[id]); }
                Step::Release(id) => store.release::<Link>("holder", IDS[id]),
                Step::Read(count) => { (0..count).all(|_| client.read(&log)); }
                Step::Reconnect => client.reconnect(&store),
                Step::Amnesia => {
                    client.bookmark = None;
                    client.reconnect(&store);
                }
                Step::Noise => noise.put("noise", Address(at)),
            }
            record(&mut log, &mut witness);
        }
        while client.read(&log) {}
        let client: Vec<_> = client.objects.into_values().collect();
        prop_assert_eq!(client, store.list_raw("link").unwrap().collect::<Vec<_>>());
    }

    #[test]
    fn nobody_changes_what_is_not_theirs(steps in vec((0..2_usize, 0..IDS.len(), proptest::option::of(0..3_u32)), 0..40)) {
        let store = Store::new();
        let writers = ["a", "b"].map(|owner| (owner, store.shared_writer::<Link>(owner).unwrap()));
        let mut model: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
        for (writer, id, value) in steps {
            let (owner, writer) = &writers[writer];
            let id = IDS[id];
            let foreign = model.get(id).is_some_and(|(has, _)| has != owner);
            let result = match value {
                Some(value) => writer.put(id, Link(value)),
                None => writer.remove(id),
            };
            prop_assert_eq!(result.is_err(), foreign);
            match value {
                _ if foreign => {}
                Some(value) => { model.insert(id, (owner, value)); }
                None => { model.remove(id); }
            }
            let objects = store.list::<Link>();
            let now: BTreeMap<_, _> = objects.iter().map(|o| (o.id.as_str(), (o.owner, o.value.0))).collect();
            prop_assert_eq!(&now, &model);
        }
    }
}
