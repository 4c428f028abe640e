//! The fence, and the laws of the sweep.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::samples::{Address, Link, Wait};

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Cycle(#[from] CycleError),
    #[error("cannot reach the kernel")]
    Kernel(#[source] std::io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Next(Next),
    Error,
    Panic,
}

/// Puts what it is told to, and ends as it is told to.
struct Scripted {
    links: BTreeMap<u8, u32>,
    waits: BTreeMap<u8, u32>,
    end: End,
}

impl Controller for Scripted {
    const NAME: &'static str = "test/scripted";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        ports.hold::<Address>().own::<Link>().share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        for (id, value) in &self.links {
            cx.put(id.to_string(), Link(*value))?;
        }
        tokio::task::yield_now().await;
        for (id, value) in &self.waits {
            cx.put(id.to_string(), Wait(*value))?;
        }
        match self.end {
            End::Next(next) => Ok(next),
            End::Error => Err(Error::Kernel(std::io::Error::other("netlink is gone"))),
            End::Panic => panic!("scripted"),
        }
    }
}

/// Asks for what it did not declare.
struct Greedy {
    ask: fn(&mut Cycle<'_>) -> Result<(), CycleError>,
    swallow: bool,
}

impl Controller for Greedy {
    const NAME: &'static str = "test/greedy";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Address>().share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        match (self.ask)(cx) {
            Err(error) if !self.swallow => Err(error),
            _ => Ok(Next::OnChange),
        }
    }
}

#[tokio::test]
async fn the_fence() {
    type Ask = fn(&mut Cycle<'_>) -> Result<(), CycleError>;
    let table: [(Ask, Option<&str>); 10] = [
        (|cx| cx.get::<Address>("a").map(drop), None),
        (|cx| cx.list::<Wait>().map(drop), None),
        (|cx| cx.put("mine", Wait(1)), None),
        (|cx| cx.get::<Link>("a").map(drop), Some("test/greedy may not watch link")),
        (|cx| cx.list::<Link>().map(drop), Some("test/greedy may not watch link")),
        (|cx| cx.put("a", Link(1)), Some("test/greedy may not own link")),
        (|cx| cx.put("a", Address(1)), Some("test/greedy may not own address")),
        (|cx| cx.hold::<Address>("a").map(drop), Some("test/greedy may not hold address")),
        (|cx| cx.release::<Wait>("a"), Some("test/greedy may not hold wait")),
        (|cx| cx.put("theirs", Wait(1)), Some("test/greedy wrote wait \"theirs\", which belongs to other")),
    ];
    for (ask, refusal) in table {
        for swallow in [false, true] {
            let store = Store::new();
            store.shared_writer::<Wait>("other").unwrap().put("theirs", Wait(0)).unwrap();
            let ended = run_cycle(&mut Greedy { ask, swallow }, &store).await;
            match (ended, refusal) {
                (Ok(Next::OnChange), None) => {}
                (Err(failure), Some(refusal)) => assert!(failure.to_string().starts_with(refusal), "{failure}"),
                (ended, refusal) => panic!("{ended:?} where {refusal:?}"),
            }
        }
    }
}

#[tokio::test]
async fn failures_say_why() {
    let store = Store::new();
    let mut controller = Scripted { links: BTreeMap::new(), waits: BTreeMap::new(), end: End::Error };
    let failure = run_cycle(&mut controller, &store).await.unwrap_err();
    assert_eq!(failure.to_string(), "cannot reach the kernel: netlink is gone");
    controller.end = End::Panic;
    assert_eq!(run_cycle(&mut controller, &store).await.unwrap_err().to_string(), "panicked: scripted");
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Next(Next::OnChange)),
        1 => Just(End::Next(Next::After(std::time::Duration::from_secs(1)))),
        1 => Just(End::Next(Next::Unready)),
        1 => Just(End::Error),
        1 => Just(End::Panic),
    ]
}

proptest! {
    #[test]
    fn outputs_are_what_was_put_last(
        cycles in vec((btree_map(0..5_u8, 0..3_u32, 0..5), btree_map(0..5_u8, 0..3_u32, 0..5), end()), 0..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = Store::new();
        let other = store.shared_writer::<Wait>("other").unwrap();
        other.put("theirs", Wait(9)).unwrap();
        let mut expected: (BTreeMap<u8, u32>, BTreeMap<u8, u32>) = Default::default();
        for (links, waits, end) in cycles {
            if matches!(end, End::Next(Next::OnChange | Next::After(_))) {
                expected = (links.clone(), waits.clone());
            } else {
                expected.0.extend(links.clone());
                expected.1.extend(waits.clone());
            }
            let mut controller = Scripted { links, waits, end };
            let first = runtime.block_on(run_cycle(&mut controller, &store));
            let versions: Vec<_> = store.list::<Link>().iter().map(|object| object.version).collect();
            let second = runtime.block_on(run_cycle(&mut controller, &store));
            let again: Vec<_> = store.list::<Link>().iter().map(|object| object.version).collect();
            let links = store.list::<Link>().iter().map(|o| (o.id.parse().unwrap(), o.value.0)).collect();
            let waits = store.list::<Wait>();
            let waits = waits.iter().filter(|o| o.owner != "other");
            let waits = waits.map(|o| (o.id.parse().unwrap(), o.value.0)).collect();
            let theirs = store.get::<Wait>("theirs").map(|object| object.value.0);
            prop_assert_eq!(&(links, waits), &expected, "after {:?}", end);
            prop_assert_eq!(theirs, Some(9));
            prop_assert_eq!((first, versions), (second, again), "the same cycle again changes nothing");
        }
    }
}
