//! Who asks for a type before its controllers have looked.

use super::*;
use crate::store::RawChange;

async fn first(rig: &Rig) -> (Vec<RawChange>, Duration) {
    let mut watch = rig.store.watch_raw("address", None).unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&RawChange::Synced) {
        told.push(watch.next().await.change);
    }
    (told, rig.started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_when_the_controller_has_looked() {
    let rig = Rig::new([Do::Fail("not yet"), Do::Work(MS), Do::Work(100 * MS)]);
    rig.links.put("eth0", Link(1));
    let (told, after) = first(&rig).await;
    assert!(matches!(&told[..], [RawChange::Reset, RawChange::Put(_), RawChange::Synced]), "{told:?}");
    assert!(after > Duration::ZERO && after < Duration::from_secs(2), "{after:?}");
    let begun = Instant::now();
    rig.store.told("addresses").await;
    first(&rig).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "it stays told");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_does_not_get_on_hides_nothing_for_long() {
    for step in [Do::Hang, Do::End(Next::Unready)] {
        let rig = Rig::new([step]);
        let (told, after) = first(&rig).await;
        assert_eq!(told, [RawChange::Reset, RawChange::Synced]);
        assert!((5..10).contains(&after.as_secs()), "{after:?}");
        let begun = Instant::now();
        first(&rig).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_controller_writes_is_told_at_once() {
    let rig = Rig::new([Do::Hang]);
    rig.store.told("links").await;
    assert_eq!(rig.started.elapsed(), Duration::ZERO);
}
