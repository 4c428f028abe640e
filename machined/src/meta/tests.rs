//! META on a plain file: what survives, what is refused, what a torn write leaves.

use super::*;
use boot::meta::{BLOCK, HEADERS, Header, MACHINED, SIZE};
use std::fs;

const ONE: &str = "11111111-1111-4111-8111-111111111111";
const TWO: &str = "22222222-2222-4222-8222-222222222222";

pub(crate) fn fresh(dir: &Path) -> PathBuf {
    let path = dir.join("meta");
    let mut bytes = vec![0; usize::try_from(SIZE).unwrap()];
    let header = Header::new(boot::Guid([7; 16])).encode();
    for region in [HEADERS.a, HEADERS.b] {
        let at = usize::try_from(region.offset).unwrap();
        bytes[at..at + BLOCK].copy_from_slice(&header);
    }
    fs::write(&path, bytes).unwrap();
    path
}

fn region(bytes: &[u8], region: boot::meta::Region) -> std::ops::Range<usize> {
    let at = usize::try_from(region.offset).unwrap();
    assert!(bytes.len() >= at + region.len);
    at..at + region.len
}

#[tokio::test]
async fn values_survive_and_boots_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = fresh(dir.path());
    let meta = Handle::new(ONE);
    assert_eq!(meta.update(|r| r.machine_id = Some("abc".into())).await.unwrap(), Saved::Memory);
    meta.attach(&path).await.unwrap();
    assert_eq!(meta.state(), State::Attached { device: path.clone(), unsaved: None });
    let stop = Stop { action: crate::stop::Action::Reboot, cause: "test".into(), time_unix: 9, complete: false };
    assert_eq!(meta.stopping(stop.clone()).await.unwrap(), Saved::Disk);

    let next = Handle::new(TWO);
    next.attach(&path).await.unwrap();
    let record = next.record();
    assert_eq!(record.machine_id.as_deref(), Some("abc"));
    assert_eq!(record.previous, Some(Mark { id: ONE.into(), stop: Some(stop), ..Mark::default() }));
    assert_eq!(record.boot, Some(Mark { id: TWO.into(), ..Mark::default() }));
}

#[tokio::test]
async fn what_is_only_read_counts_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = fresh(dir.path());
    let first = Handle::new(ONE);
    first.attach(&path).await.unwrap();
    first.update(|r| r.machine_id = Some("abc".into())).await.unwrap();
    let before = fs::read(&path).unwrap();

    let next = Handle::new(TWO);
    next.read(&path).await.unwrap();
    assert_eq!(next.settled(Duration::ZERO).await, State::Read { device: path.clone() });
    assert_eq!(next.record().machine_id.as_deref(), Some("abc"));
    assert_eq!(next.update(|r| r.configured = true).await.unwrap(), Saved::Memory);
    assert!(next.volume().is_none());
    assert_eq!(fs::read(&path).unwrap(), before);

    next.attach(&path).await.unwrap();
    let written = Handle::new(TWO);
    written.read(&path).await.unwrap();
    assert!(written.record().configured && written.record().boot.is_some_and(|boot| boot.id == TWO));
}

#[tokio::test]
async fn without_meta_it_says_why_and_keeps_values_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let meta = Handle::new(ONE);
    assert_eq!(meta.settled(Duration::from_millis(1)).await, State::Waiting);
    let path = dir.path().join("nothing");
    assert!(meta.attach(&path).await.is_err());
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    assert!(meta.attach(&path).await.is_err());
    let State::Unusable(why) = meta.settled(Duration::from_secs(1)).await else { panic!("attached to zeros") };
    assert!(why.contains("STELEMETA"), "{why}");
    assert_eq!(meta.update(|r| r.configured = true).await.unwrap(), Saved::Memory);
    assert!(meta.record().configured);
    assert_eq!(fs::read(&path).unwrap(), vec![0; 1 << 20]);
}

#[tokio::test]
async fn a_damaged_record_is_shown_and_left_as_it_is_and_a_first_write_cut_off_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = fresh(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let (a, b) = (region(&bytes, MACHINED.a), region(&bytes, MACHINED.b));
    bytes[a.start] = 1;
    bytes[b.start] = 1;
    fs::write(&path, &bytes).unwrap();
    let meta = Handle::new(ONE);
    assert!(matches!(meta.attach(&path).await, Err(Error::Damaged { .. })));
    let State::Unusable(why) = meta.state() else { panic!("attached") };
    assert!(why.contains("install anew"), "{why}");
    assert_eq!(meta.update(|r| r.configured = true).await.unwrap(), Saved::Memory);
    assert_eq!(fs::read(&path).unwrap(), bytes);

    bytes[b.start] = 0;
    fs::write(&path, &bytes).unwrap();
    Handle::new(ONE).attach(&path).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_waited_for_once_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let meta = Handle::new(ONE);
    let hangs = meta.0.turn.clone().lock_owned().await;
    assert!(matches!(meta.attach(&fresh(dir.path())).await, Err(Error::Silent)));
    assert!(matches!(meta.state(), State::Unusable(why) if why.contains("did not answer within 10 s")));

    let device = PathBuf::from("/dev/vda2");
    meta.0.state.send_replace(State::Attached { device, unsaved: None });
    assert!(matches!(meta.update(|record| record.configured = true).await, Err(Error::Silent)));
    assert!(matches!(meta.state(), State::Attached { unsaved: Some(why), .. } if why.contains("did not answer")));
    drop(hangs);
    assert!(meta.record().configured);
}

#[tokio::test]
async fn a_record_of_an_unknown_shape_is_shown_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = fresh(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let at = region(&bytes, MACHINED.a);
    let strange = boot::record::Record { seq: 5, payload: br#"{"version":"nine"}"# };
    boot::record::encode(boot::record::Kind::Machined, strange, &mut bytes[at]).unwrap();
    fs::write(&path, &bytes).unwrap();
    let meta = Handle::new(ONE);
    assert!(matches!(meta.attach(&path).await, Err(Error::Shape { .. })));
    let State::Unusable(why) = meta.state() else { panic!("attached") };
    assert!(why.contains("left as it is"), "{why}");
    assert_eq!(meta.update(|r| r.configured = true).await.unwrap(), Saved::Memory);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_failed_write_is_kept_in_the_state_until_one_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let path = fresh(dir.path());
    let meta = Handle::new(ONE);
    meta.attach(&path).await.unwrap();
    let away = dir.path().join("away");
    fs::rename(&path, &away).unwrap();
    assert!(meta.update(|r| r.seed = Some("00".into())).await.is_err());
    assert!(matches!(meta.state(), State::Attached { unsaved: Some(_), .. }));
    fs::rename(&away, &path).unwrap();
    meta.update(|_| ()).await.unwrap();
    assert_eq!(meta.state(), State::Attached { device: path.clone(), unsaved: None });
    let next = Handle::new(TWO);
    next.attach(&path).await.unwrap();
    assert_eq!(next.record().seed.as_deref(), Some("00"));
}

#[tokio::test]
async fn nobody_waits_for_a_disk_to_read_the_record() {
    let meta = Handle::new(ONE);
    let _slow_disk = meta.0.turn.clone().lock_owned().await;
    let update = meta.update(|record| record.seed = Some("00".into()));
    assert!(tokio::time::timeout(Duration::from_millis(10), update).await.is_err());
    assert_eq!(meta.record().seed.as_deref(), Some("00"));
}

#[tokio::test]
async fn a_torn_write_leaves_the_record_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = fresh(dir.path());
    let meta = Handle::new(ONE);
    meta.attach(&path).await.unwrap();
    for cut in [0, 1, 31, 512, 4096, 16383] {
        meta.update(|r| r.seed = Some(format!("before {cut}"))).await.unwrap();
        let before = fs::read(&path).unwrap();
        meta.update(|r| r.seed = Some(format!("after {cut}"))).await.unwrap();
        let after = fs::read(&path).unwrap();
        let (a, b) = (region(&before, MACHINED.a), region(&before, MACHINED.b));
        let slot = volume::next_slot(&before[a], &before[b]);
        let place = region(&before, MACHINED.get(slot));
        let mut torn = before.clone();
        let cut_at = place.start + cut;
        torn[place.start..cut_at].copy_from_slice(&after[place.start..cut_at]);
        let copy = dir.path().join("torn");
        fs::write(&copy, torn).unwrap();
        let reader = Handle::new(ONE);
        reader.attach(&copy).await.unwrap();
        let seed = reader.record().seed.unwrap();
        assert!(seed == format!("before {cut}") || seed == format!("after {cut}"), "{seed}");
    }
}

/// The note that decides whether strangers are let in: whatever arrives of it, META stays readable and the next boot goes on.
#[tokio::test]
async fn a_torn_note_that_the_machine_is_configured_is_no_damage() {
    for records in [0, 1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let path = fresh(dir.path());
        for number in 0..records {
            let meta = Handle::new(&format!("boot {number}"));
            meta.attach(&path).await.unwrap();
        }
        let before = fs::read(&path).unwrap();
        let meta = Handle::new(ONE);
        meta.update(|record| record.configured = true).await.unwrap();
        meta.attach(&path).await.unwrap();
        let after = fs::read(&path).unwrap();
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert!(changed > 0);
        let last = after.len() - before.iter().zip(&after).rev().position(|(a, b)| a != b).unwrap();
        let first = before.iter().zip(&after).position(|(a, b)| a != b).unwrap();
        for cut in [first, first + 1, first + 32, first + 40, last - 1, last] {
            let torn = [&after[..cut], &before[cut..]].concat();
            let copy = dir.path().join("torn");
            fs::write(&copy, torn).unwrap();
            let next = Handle::new(TWO);
            next.attach(&copy).await.unwrap();
            assert_eq!(next.record().configured, cut == last, "{records} records, cut at {cut} of {first}..{last}");
            next.update(|record| record.configured = true).await.unwrap();
            let again = Handle::new(ONE);
            again.read(&copy).await.unwrap();
            assert!(again.record().configured);
        }
    }
}

#[tokio::test]
async fn the_next_boot_reads_the_log_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = fresh(dir.path());
    let meta = Handle::new(ONE);
    assert!(Ring::open(&meta).await.unwrap().is_none());
    meta.attach(&path).await.unwrap();
    let (mut ring, last) = Ring::open(&meta).await.unwrap().unwrap();
    assert_eq!(last, None);
    assert!(ring.append(b"first ").await.unwrap());
    ring.append(&vec![b'x'; 3 * BLOCK]).await.unwrap();
    // machined starts again in the same boot
    let (mut ring, last) = Ring::open(&meta).await.unwrap().unwrap();
    assert_eq!(last, None);
    ring.append(b" last").await.unwrap();

    let next = Handle::new(TWO);
    next.attach(&path).await.unwrap();
    let (mut ring, last) = Ring::open(&next).await.unwrap().unwrap();
    let last = last.unwrap();
    assert_eq!(last.boot_id, ONE);
    assert_eq!(last.text.len(), 6 + 3 * BLOCK + 5);
    assert!(last.text.starts_with(b"first ") && last.text.ends_with(b"x last"));
    ring.append(&vec![b'y'; 2 << 20]).await.unwrap();
    next.detach("unplugged");
    assert!(!ring.append(b"lost").await.unwrap());
}
