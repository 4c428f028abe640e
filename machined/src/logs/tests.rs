//! Logs against real pipes and files: order, cursors across a restart, rotation, floods.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;

fn texts(chunk: &Chunk) -> Vec<String> {
    chunk.lines.iter().map(|l| String::from_utf8_lossy(&l.text).into_owned()).collect()
}

fn logs(dir: &tempfile::TempDir) -> Logs {
    Logs::new(dir.path(), "0a1b2c3d-0000")
}

#[tokio::test]
async fn lines_come_in_order_and_a_cursor_continues_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = logs(&dir);
    first.log("web").unwrap().append(b"one\ntwo\nthr").unwrap();
    let mut reader = first.open("web", &Start::Oldest, true).unwrap();
    let chunk = reader.next().await.unwrap().unwrap();
    assert_eq!(texts(&chunk), ["one", "two"]);

    let second = logs(&dir); // machined was restarted
    second.log("web").unwrap().append(b"ee\nfour\n").unwrap();
    let mut reader = second.open("web", &Start::Cursor(chunk.cursor), false).unwrap();
    let chunk = reader.next().await.unwrap().unwrap();
    assert_eq!(texts(&chunk), ["three", "four"]);
    assert_eq!(chunk.dropped, 0);
    assert!(chunk.lines[0].time_unix_ns > 1_700_000_000_000_000_000);
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn tail_gives_the_last_lines_and_an_unfinished_one_is_partial() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(&dir);
    logs.log("web").unwrap().append(b"one\ntwo\nthree\nfo").unwrap();
    for (tail, expected) in
        [(0, vec![]), (1, vec!["fo"]), (2, vec!["three", "fo"]), (99, vec!["one", "two", "three", "fo"])]
    {
        let mut reader = logs.open("web", &Start::Tail(tail), false).unwrap();
        let chunk = reader.next().await.unwrap().unwrap_or_default();
        assert_eq!(texts(&chunk), expected, "tail {tail}");
        assert_eq!(chunk.lines.iter().filter(|l| l.partial).count(), expected.len().min(1));
    }
}

#[tokio::test]
async fn who_does_not_follow_is_told_nothing_that_came_since() {
    for (start, expected) in [(Start::Tail(1), vec!["two"]), (Start::Oldest, vec!["one", "two"])] {
        let dir = tempfile::tempdir().unwrap();
        let logs = logs(&dir);
        let log = logs.log("web").unwrap();
        log.append(b"one\ntwo\n").unwrap();
        let mut reader = logs.open("web", &start, false).unwrap();
        log.append(b"since\n").unwrap();
        let chunk = reader.next().await.unwrap().unwrap();
        assert_eq!(texts(&chunk), expected);
        assert_eq!(reader.next().await.unwrap(), None);
        let mut next = logs.open("web", &Start::Cursor(chunk.cursor), false).unwrap();
        assert_eq!(texts(&next.next().await.unwrap().unwrap()), ["since"], "nothing is passed over");
    }
}

#[tokio::test]
async fn what_is_cut_off_is_counted_and_no_line_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::open(dir.path(), Arc::new(AtomicU64::new(1000))).unwrap());
    let mut written = 0;
    for n in 0..500 {
        let line = format!("line {n:06}\n");
        written += line.len() as u64;
        log.append(line.as_bytes()).unwrap();
    }
    let mut reader = ServiceReader::new(log.clone(), "e".into(), &Start::Oldest, false).unwrap();
    let (mut read, mut dropped, mut all) = (0, 0, Vec::new());
    while let Some(chunk) = reader.next().await.unwrap() {
        dropped += chunk.dropped;
        read += chunk.lines.iter().map(|l| l.text.len() as u64 + 1).sum::<u64>();
        all.extend(texts(&chunk));
    }
    assert_eq!(read + dropped, written);
    assert!(dropped > 0 && read >= 1000, "dropped {dropped}, read {read}");
    assert_eq!(all.last().unwrap(), "line 000499");
    assert!(all.iter().all(|l| l.len() == 11), "{all:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4, "two files and their marks");
}

#[tokio::test]
async fn a_loss_is_said_where_it_happened() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(&dir);
    let log = logs.log("web").unwrap();
    log.append(b"one\ntw").unwrap();
    log.lost(4711).unwrap();
    log.append(b"rest\nthree\n").unwrap();
    let mut reader = logs.open("web", &Start::Oldest, false).unwrap();
    let before = reader.next().await.unwrap().unwrap();
    assert_eq!((texts(&before), before.dropped), (vec!["one".into(), "tw".into()], 0));
    let after = reader.next().await.unwrap().unwrap();
    assert_eq!((texts(&after), after.dropped), (vec!["rest".into(), "three".into()], 4711));
}

#[tokio::test]
async fn a_long_line_comes_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(&dir);
    logs.log("web").unwrap().append(&[b'x'; 40_000]).unwrap();
    logs.log("web").unwrap().append(b"\n").unwrap();
    let mut reader = logs.open("web", &Start::Oldest, false).unwrap();
    let chunk = reader.next().await.unwrap().unwrap();
    let pieces: Vec<_> = chunk.lines.iter().map(|l| (l.text.len(), l.partial)).collect();
    assert_eq!(pieces, [(16384, true), (16384, true), (7232, false)]);
}

#[tokio::test]
async fn a_bad_cursor_is_refused_and_one_of_another_boot_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(&dir);
    logs.log("web").unwrap().append(b"one\n").unwrap();
    for bad in ["", "nonsense", "0a1b2c3d:zz", "0a1b2c3d:ffff"] {
        assert!(matches!(logs.open("web", &Start::Cursor(bad.into()), false), Err(Error::Cursor(_))), "{bad}");
    }
    let mut reader = logs.open("web", &Start::Cursor("99999999:ffff".into()), false).unwrap();
    assert_eq!(texts(&reader.next().await.unwrap().unwrap()), ["one"]);
    assert!(matches!(logs.open("nope", &Start::Oldest, false), Err(Error::Unknown { .. })));
}

#[tokio::test]
async fn a_flood_does_not_starve_the_quiet_one() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(&dir);
    let mut drains = tokio::task::JoinSet::new();
    let (flood_read, flood_write) = std::io::pipe().unwrap();
    let (quiet_read, mut quiet_write) = std::io::pipe().unwrap();
    drains.spawn(drain(logs.log("flood").unwrap(), Arc::new(flood_read.into())));
    drains.spawn(drain(logs.log("quiet").unwrap(), Arc::new(quiet_read.into())));
    let flood = std::thread::spawn(move || {
        let mut pipe = flood_write;
        let line = [b"y".repeat(99), vec![b'\n']].concat();
        for _ in 0..200_000 {
            if pipe.write_all(&line).is_err() {
                return;
            }
        }
    });
    let mut reader = logs.open("quiet", &Start::Oldest, true).unwrap_or_else(|e| panic!("{e}"));
    for n in 0..10 {
        writeln!(quiet_write, "{n}").unwrap();
        let chunk = tokio::time::timeout(Duration::from_secs(2), reader.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(texts(&chunk), [n.to_string()]);
    }
    let mut reader = logs.open("flood", &Start::Oldest, true).unwrap();
    let chunk = tokio::time::timeout(Duration::from_secs(2), reader.next()).await.unwrap().unwrap().unwrap();
    assert!(chunk.lines.iter().all(|l| l.text.len() == 99));
    drop(reader);
    drains.abort_all();
    while drains.join_next().await.is_some() {}
    flood.join().unwrap();
}

#[test]
fn bytes_not_yet_drained_stay_in_the_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), Arc::new(AtomicU64::new(log::SEGMENT))).unwrap();
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(b"one\ntwo\n").unwrap();
    assert_eq!(log.splice(read.as_fd(), 4).unwrap(), 4);
    assert_eq!(log.splice(read.as_fd(), 100).unwrap(), 4);
    assert_eq!(log.splice(read.as_fd(), 100).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(write);
    assert_eq!(log.splice(read.as_fd(), 100).unwrap(), 0);
}

/// A machined that dies before the service writes again; also where the loss falls between two files.
#[tokio::test]
async fn a_loss_is_known_to_the_next_machined_and_said_once() {
    for size in [5, 1000] {
        let dir = tempfile::tempdir().unwrap();
        let open = || Arc::new(Log::open(dir.path(), Arc::new(AtomicU64::new(size))).unwrap());
        open().append(b"one\n").unwrap();
        open().lost(700).unwrap();
        open().lost(11).unwrap();
        let log = open();
        log.append(b"two\n").unwrap();
        let mut reader = ServiceReader::new(log, "e".into(), &Start::Oldest, false).unwrap();
        let (mut lines, mut dropped) = (Vec::new(), 0);
        while let Some(chunk) = reader.next().await.unwrap() {
            assert!(chunk.dropped == 0 || texts(&chunk) == ["two"], "{chunk:?}");
            dropped += chunk.dropped;
            lines.extend(texts(&chunk));
        }
        assert_eq!((lines, dropped), (vec!["one".into(), "two".into()], 711), "size {size}");
    }
}

#[test]
fn a_loss_that_cannot_be_written_yet_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), Arc::new(AtomicU64::new(4))).unwrap();
    log.append(b"one\n").unwrap();
    // The next file cannot be made.
    let next = dir.path().join(format!("{:016x}.log", 4));
    std::fs::create_dir(&next).unwrap();
    log.lost(7).unwrap_err();
    std::fs::remove_dir(&next).unwrap();
    log.append(b"two\n").unwrap();
    let (_, marks) = log.read(4, 8).unwrap().unwrap();
    assert_eq!(marks.iter().map(|mark| mark.dropped).sum::<u64>(), 7);
}

#[test]
fn many_logs_together_stay_within_their_budget() {
    let dir = tempfile::tempdir().unwrap();
    let logs = logs(&dir);
    let size = |name: &str| -> u64 {
        let files = std::fs::read_dir(dir.path().join(name)).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let flood = |name: &str| (0..300).for_each(|_| logs.log(name).unwrap().append(&[b'x'; 4096]).unwrap());
    flood("alone");
    assert!(size("alone") > log::SEGMENT);
    for n in 0..200 {
        logs.log(&format!("log{n}")).unwrap();
    }
    flood("log7");
    flood("alone");
    let most = 2 * BUDGET / 200 / 5 * 6;
    assert!(size("log7") < most && size("alone") < most, "{} {}", size("log7"), size("alone"));
}
