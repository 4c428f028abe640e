//! The life of objects, claims, and watches, by table.

use super::*;
use crate::resource::ObjectPhase::{Running, TearingDown};
use crate::samples::{Address, Link};

mod properties;

fn drain(watch: &mut RawWatch) -> Vec<RawChange> {
    std::iter::from_fn(|| watch.step()).map(|event| event.change).collect()
}

/// `+id=value@version`, `-id`, `reset`, `synced`.
fn short(changes: Vec<RawChange>) -> Vec<String> {
    let short = |change| match change {
        RawChange::Reset => "reset".to_owned(),
        RawChange::Synced => "synced".to_owned(),
        RawChange::Put(object) => format!("+{}={}@{}", object.id, object.value, object.version),
        RawChange::Deleted(object) => format!("-{}", object.id),
    };
    changes.into_iter().map(short).collect()
}

#[test]
fn an_equal_value_changes_nothing() {
    let store = Store::new();
    let links = store.writer::<Link>("net").unwrap();
    links.put("eth0", Link(1));
    let first = store.get::<Link>("eth0").unwrap();
    links.put("eth0", Link(1));
    assert_eq!(store.get::<Link>("eth0").unwrap().version, first.version);
    links.put("eth0", Link(2));
    let second = store.get::<Link>("eth0").unwrap();
    assert!(second.version > first.version);
    assert_eq!((*first.value == Link(1), *second.value == Link(2), second.owner), (true, true, "net"));
}

#[test]
fn a_held_object_vanishes_with_its_last_hold() {
    let store = Store::new();
    let links = store.writer::<Link>("net").unwrap();
    links.put("eth0", Link(1));
    assert!(store.hold::<Link>("dhcp", "eth0") && store.hold::<Link>("dns", "eth0"));
    links.remove("eth0");
    assert_eq!(store.get::<Link>("eth0").unwrap().phase, TearingDown);
    assert!(!store.hold::<Link>("late", "eth0"), "what is going cannot be held anew");
    assert!(store.hold::<Link>("dhcp", "eth0"), "who holds it still does");
    store.release::<Link>("dhcp", "eth0");
    assert!(store.get::<Link>("eth0").is_some());
    store.release::<Link>("dns", "eth0");
    assert!(store.get::<Link>("eth0").is_none());
    store.release::<Link>("dns", "eth0");
    assert!(!store.hold::<Link>("dns", "eth0"), "what is not there cannot be held");
}

#[test]
fn what_is_put_while_it_goes_comes_back_anew() {
    let store = Store::new();
    let links = store.writer::<Link>("net").unwrap();
    let mut watch = store.watch_raw("link", None).unwrap();
    links.put("eth0", Link(1));
    store.hold::<Link>("dhcp", "eth0");
    links.remove("eth0");
    links.put("eth0", Link(2));
    let going = store.get::<Link>("eth0").unwrap();
    assert_eq!((going.phase, &*going.value), (TearingDown, &Link(1)), "a holder undoes the old one first");
    store.release::<Link>("dhcp", "eth0");
    let back = store.get::<Link>("eth0").unwrap();
    assert_eq!((back.phase, &*back.value), (Running, &Link(2)));
    assert!(!store.held::<Link>("dhcp", "eth0"));
    assert_eq!(short(drain(&mut watch)), ["reset", "+eth0=2@4", "synced"]);

    store.hold::<Link>("dhcp", "eth0");
    links.remove("eth0");
    links.put("eth0", Link(3));
    links.remove("eth0");
    store.release::<Link>("dhcp", "eth0");
    assert!(store.get::<Link>("eth0").is_none(), "a second removal takes the successor too");
}

#[test]
fn sharers_touch_only_their_own() {
    let store = Store::new();
    let (a, b) = (store.shared_writer::<Link>("a").unwrap(), store.shared_writer::<Link>("b").unwrap());
    a.put("1", Link(1)).unwrap();
    let refused = b.put("1", Link(2)).unwrap_err();
    assert_eq!(refused.to_string(), r#"b wrote link "1", which belongs to a: choose another id, or let a write it"#);
    assert_eq!(b.remove("1").unwrap_err(), refused);
    assert_eq!(b.replace_all([("2", Link(2)), ("1", Link(2))]).unwrap_err(), refused);
    assert_eq!(store.list::<Link>().len(), 1, "a refused replacement changes nothing");
    b.replace_all([("2", Link(2)), ("3", Link(3))]).unwrap();
    b.replace_all([("3", Link(3)), ("4", Link(4))]).unwrap();
    let ids: Vec<_> = store.list::<Link>().into_iter().map(|object| object.id).collect();
    assert_eq!(ids, ["1", "3", "4"]);
}

#[test]
fn claims() {
    use Claim::{Own, Share};
    // who came first, who comes second, whether it may
    let table = [
        (("a", Own), ("a", Own), true),
        (("a", Own), ("b", Own), false),
        (("a", Own), ("b", Share), false),
        (("a", Own), ("a", Share), false),
        (("a", Share), ("b", Own), false),
        (("a", Share), ("a", Own), false),
        (("a", Share), ("b", Share), true),
        (("a", Share), ("a", Share), true),
    ];
    for (first, second, may) in table {
        let store = Store::new();
        store.claim::<Link>(first.0, first.1).unwrap();
        assert_eq!(store.claim::<Link>(second.0, second.1).is_ok(), may, "{first:?} {second:?}");
        store.claim::<Address>(second.0, second.1).unwrap();
    }
    let store = Store::new();
    let _writer = store.writer::<Link>("net").unwrap();
    let error = store.shared_writer::<Link>("dhcp").unwrap_err().to_string();
    assert_eq!(error, "dhcp wants to share link, but net has declared to own it: one may own a type, or all share it");
}

#[test]
fn types_answer_to_all_their_names() {
    let store = Store::new();
    store.register::<Link>();
    store.register::<Link>();
    store.register::<Address>();
    let names: Vec<_> = store.types().iter().map(|info| info.name).collect();
    assert_eq!(names, ["address", "link"]);
    for name in ["link", "links", "iface"] {
        assert_eq!(store.resolve(name).unwrap().name, "link");
        assert_eq!(store.list_raw(name).unwrap().len(), 0);
        assert!(store.watch_raw(name, None).is_some());
    }
    assert!(store.resolve("Link").is_none() && store.list_raw("route").is_none());
    assert!(store.watch_raw("route", None).is_none());
    assert_eq!(store.resolve("link").unwrap().schema()["type"], "integer");
    assert!(store.clashes().is_empty());
}

#[test]
fn a_bookmark_goes_on_where_it_was() {
    let store = Store::remembering(3);
    let links = store.writer::<Link>("net").unwrap();
    links.put("a", Link(1));
    links.put("b", Link(1));
    let mut watch = store.watch_raw("links", None).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| watch.step()).collect();
    let bookmarked: Vec<_> = events.iter().map(|event| event.bookmark.is_some()).collect();
    assert_eq!(bookmarked, [false, false, false, true]);
    let bookmark = events[3].bookmark.clone().unwrap();

    links.put("a", Link(2));
    links.remove("b");
    let resume = |bookmark: &str| short(drain(&mut store.watch_raw("link", Some(bookmark)).unwrap()));
    assert_eq!(resume(&bookmark), ["+a=2@3", "-b", "synced"]);
    links.put("c", Link(3));
    assert_eq!(resume(&bookmark), ["+a=2@3", "-b", "+c=3@5", "synced"]);
    links.put("c", Link(4));
    let anew = ["reset", "+a=2@3", "+c=4@6", "synced"];
    assert_eq!(resume(&bookmark), anew, "the history no longer reaches back");
    assert_eq!(short(drain(&mut watch)), anew, "nor for a watch that was too slow");
    let ahead = store.bookmark(7);
    let elsewhere = Store::remembering(3).bookmark(6);
    for unknown in ["", "-", "6", "zz-6", ahead.as_str(), elsewhere.as_str()] {
        assert_eq!(resume(unknown), anew, "{unknown:?}");
    }
}

#[tokio::test]
async fn a_watch_waits_for_news() {
    let store = Store::new();
    let links = store.writer::<Link>("net").unwrap();
    let mut changes = store.watch::<Link>();
    let mut watch = store.watch_raw("link", None).unwrap();
    assert_eq!(watch.next().await.change, RawChange::Reset);
    assert_eq!(watch.next().await.change, RawChange::Synced);
    let (event, ()) = tokio::join!(watch.next(), async {
        tokio::task::yield_now().await;
        links.put("a", Link(1));
    });
    assert_eq!(short(vec![event.change]), ["+a=1@1"]);
    changes.changed().await;
    let idle = tokio::time::timeout(std::time::Duration::from_millis(1), changes.changed()).await;
    assert!(idle.is_err(), "one change is told once");
    links.put("a", Link(1));
    let idle = tokio::time::timeout(std::time::Duration::from_millis(1), watch.next()).await;
    assert!(idle.is_err(), "an equal value is no change");
}
