use std::{collections::BTreeSet, fs::OpenOptions, os::unix::fs::FileExt, path::Path};

use api::audit::Chain;

use super::{ring::read, *};
use crate::state::State;

fn call(method: &str) -> Call {
    Call {
        fingerprint: [1; 32],
        code: 0,
        rescue: false,
        role: "stele:admin".into(),
        subject: "CN=alice".into(),
        address: "192.0.2.1".into(),
        method: method.into(),
    }
}

fn records(count: usize) -> Vec<Record> {
    (0..count).map(|n| call(&format!("/a/{n}")).record(Request::default(), true)).collect()
}

/// Every record of a ring; the chain must hold.
fn whole(path: &Path, shown: &Shown) -> Vec<Record> {
    let mut chain = Chain::new(Some(shown.head));
    let all = read(path, shown.oldest.max(1), shown.head.sequence).unwrap();
    let all: Vec<_> = all.iter().map(|(_, bytes)| chain.push(bytes).unwrap()).collect();
    assert_eq!(chain.head().unwrap_or_default(), shown.head);
    all
}

#[test]
fn a_ring_goes_on_where_it_was_and_forgets_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let (mut ring, lost) = Ring::with_slots(&path, 100).unwrap();
    assert_eq!((lost, ring.shown().head.sequence, ring.shown().oldest), (0, 0, 0));
    ring.append(records(70)).unwrap();
    assert_eq!(whole(&path, &ring.shown()).len(), 70);
    let (mut ring, lost) = Ring::open(&path).unwrap();
    assert_eq!((lost, ring.shown().head.sequence, ring.shown().oldest), (0, 70, 1));
    ring.append(records(80)).unwrap();
    let shown = ring.shown();
    assert_eq!((shown.head.sequence, shown.oldest), (150, 51));
    assert_eq!(whole(&path, &shown).len(), 100);
    let (ring, _) = Ring::open(&path).unwrap();
    assert_eq!(ring.shown(), shown);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 100 * SIZE as u64, "never a byte more");
}

#[test]
fn whatever_of_the_last_batch_a_power_cut_leaves_the_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for torn in 0..32u32 {
        for durable in [3, 97, 130] {
            let path = folder.path().join(format!("audit-{torn}-{durable}"));
            let (mut ring, _) = Ring::with_slots(&path, 100).unwrap();
            ring.append(records(durable)).unwrap();
            let before = ring.shown();
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let slot = |n: usize| ((durable + 1 + n) % 100 * SIZE) as u64;
            let old: Vec<[u8; SIZE]> = (0..5)
                .map(|n| {
                    let mut bytes = [0; SIZE];
                    file.read_exact_at(&mut bytes, slot(n)).unwrap();
                    bytes
                })
                .collect();
            ring.append(records(5)).unwrap();
            // Some slots were not written, or only half.
            for n in (0..5).filter(|n| torn & 1 << n != 0) {
                let keep = if n % 2 == 0 { SIZE } else { 200 };
                file.write_all_at(&old[n][..keep], slot(n)).unwrap();
            }
            let first = (0..5).find(|n| torn & 1 << n != 0).unwrap_or(5);
            let (mut ring, lost) = Ring::open(&path).unwrap();
            assert_eq!(ring.shown().head.sequence, (durable + first) as u64, "{torn:b} {durable}");
            assert!(ring.shown().head.sequence >= before.head.sequence, "what was durable is there");
            let behind = (first..5).filter(|n| torn & 1 << n == 0).count();
            assert_eq!(lost, behind, "{torn:b}");
            whole(&path, &ring.shown());
            ring.append(records(3)).unwrap();
            let shown = Ring::open(&path).unwrap().0.shown();
            assert_eq!(shown.head, ring.shown().head);
            assert_eq!(Ring::open(&path).unwrap().1, 0, "said once");
            assert!(whole(&path, &shown).len() >= 3.min(durable));
            assert!(whole(&path, &ring.shown()).len() >= 3.min(durable));
        }
    }
}

#[test]
fn a_record_that_was_changed_long_ago_is_left_to_who_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let (mut ring, _) = Ring::with_slots(&path, 1000).unwrap();
    ring.append(records(200)).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"forged", 50 * SIZE as u64 + 150).unwrap();
    let (ring, lost) = Ring::open(&path).unwrap();
    assert_eq!((ring.shown().head.sequence, lost), (200, 0));
    let mut chain = Chain::default();
    let broken: Vec<_> = read(&path, 1, 200).unwrap().iter().filter_map(|(_, bytes)| chain.push(bytes).err()).collect();
    assert_eq!(broken, [api::audit::Broken::Missing { after: 49, found: 51 }]);
}

struct Fixture {
    folder: tempfile::TempDir,
    state: state::Handle,
    log: Handle,
    task: tokio::task::JoinSet<()>,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let state = state::Handle::new();
    let events = Events::open(&reconcile::Store::new(), folder.path().join("events")).unwrap();
    let (log, writer) = build(state.clone(), events);
    let mut task = tokio::task::JoinSet::new();
    task.spawn(writer.run());
    Fixture { folder, state, log, task }
}

impl Fixture {
    fn mount(&self) {
        self.state.put(State::Mounted { root: self.folder.path().into() });
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    async fn until(&self, sequence: u64) -> Shown {
        let mut shown = self.log.shown();
        let reached = shown.wait_for(|shown| shown.head.sequence >= sequence);
        timeout(Duration::from_secs(60), reached).await.unwrap().unwrap().clone()
    }
}

#[tokio::test]
async fn a_change_is_on_the_disk_when_it_is_answered() {
    let fixture = fixture();
    fixture.log.change(call("/before"), Request { digest: [5; 32], bytes: 9 }).await;
    fixture.state.put(State::None("the disk is empty".into()));
    assert!(matches!(fixture.log.page(0).await, Err(Error::NoState)));
    // Asked while STATE is looked for again: answered when it is there.
    fixture.state.put(State::Waiting);
    let mut shown = fixture.log.shown();
    shown.wait_for(|shown| shown.place == Place::Opening).await.unwrap();
    let ((), asked) = tokio::join!(async { fixture.mount() }, fixture.log.page(0));
    assert!(asked.is_ok());
    fixture.until(1).await;
    for n in 0..10 {
        fixture.log.change(call(&format!("/{n}")), Request::default()).await;
        // As the next machined would find it.
        let (ring, _) = Ring::open(&fixture.path()).unwrap();
        assert_eq!(ring.shown().head.sequence, 2 + n);
    }
    let shown = fixture.log.shown().borrow().clone();
    let all = whole(&fixture.path(), &shown);
    assert_eq!((all[0].method.as_str(), all[0].digest, all[0].request_bytes), ("/before", [5; 32], 9));
    assert!(all.iter().all(|record| record.change));
    let (page, next) = fixture.log.page(5).await.unwrap().unwrap();
    assert_eq!((page[0].0, page.len(), next), (5, 7, 12));
    assert!(fixture.log.page(12).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn equal_reads_are_one_record_and_too_many_are_counted() {
    let fixture = fixture();
    fixture.mount();
    for _ in 0..7 {
        fixture.log.read(call("/get"), Request::default());
    }
    fixture.log.read(Call { code: 7, ..call("/get") }, Request::default());
    let shown = fixture.until(2).await;
    let counted: Vec<_> = whole(&fixture.path(), &shown).iter().map(|one| (one.code, one.calls)).collect();
    assert_eq!(counted.iter().collect::<BTreeSet<_>>(), [(0, 7), (7, 1)].iter().collect());
    for n in 0..READS + 20 {
        fixture.log.read(call(&format!("/{n}")), Request::default());
    }
    let shown = fixture.until(2 + READS as u64 + 1).await;
    let last = whole(&fixture.path(), &shown).pop().unwrap();
    assert_eq!((last.method.as_str(), last.calls, fixture.log.dropped()), (DROPPED, 20, 20));
}

#[tokio::test(start_paused = true)]
async fn without_state_the_newest_wait_and_nobody_is_kept_waiting() {
    let fixture = fixture();
    for n in 0..WAITING + 10 {
        fixture.log.change(call(&format!("/{n}")), Request::default()).await;
    }
    fixture.mount();
    let shown = fixture.until(WAITING as u64).await;
    let all = whole(&fixture.path(), &shown);
    assert_eq!((all.len(), all[0].method.as_str()), (WAITING, "/10"));
    assert_eq!(fixture.log.dropped(), 10);
    let shown = fixture.until(WAITING as u64 + 1).await;
    let last = whole(&fixture.path(), &shown).pop().unwrap();
    assert_eq!((last.method.as_str(), last.calls), (DROPPED, 10));
    assert_eq!(fixture.task.len(), 1);
}

#[tokio::test]
async fn what_the_disk_does_not_take_is_counted_once_and_told_when_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let events = Events::open(&reconcile::Store::new(), folder.path().join("events")).unwrap();
    let (handle, mut log) = build(state::Handle::new(), events);
    log.ring = Some(Ring::with_slots(&path, 100).unwrap().0.broken());
    assert!(!log.write(records(3)).await);
    for _ in 0..3 {
        log.flush().await;
        assert_eq!(handle.dropped(), 3, "its own count is not counted");
    }
    log.ring = Some(Ring::open(&path).unwrap().0);
    log.flush().await;
    let all = whole(&path, &handle.shown().borrow());
    assert_eq!((all.len(), all[0].method.as_str(), all[0].calls), (1, DROPPED, 3));
}
