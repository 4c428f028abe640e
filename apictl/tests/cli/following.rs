//! Watches and followed logs over broken connections and restarts of machined: no gap, no repetition.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::{Fake, LIMIT, Operator, end, line, lines};

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_over_breaks_and_restarts() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| {
        state.put("a", r#"{"size":1}"#);
        state.put("b", r#"{"size":2}"#);
    });
    let mut child = operator.start(&node, &["get", "things", "-w", "-o", "json"]);
    let mut out = lines(&mut child);
    let mut seen = Vec::new();
    let mut next = async || {
        let change: Value = serde_json::from_str(&line(&mut out).await).unwrap();
        seen.push(format!(
            "{} {} {}",
            change["event"].as_str().unwrap(),
            change["id"].as_str().unwrap(),
            change["value"]
        ));
    };
    next().await;
    next().await;
    node.node.change(|state| state.put("a", r#"{"size":3}"#));
    next().await;
    // Missed changes are delivered from the bookmark.
    node.cut();
    node.node.change(|state| {
        state.put("a", r#"{"size":4}"#);
        state.put("a", r#"{"size":5}"#);
    });
    next().await;
    next().await;
    // Another history: only the difference.
    node.node.change(|state| state.off = true);
    node.restart();
    node.node.change(|state| {
        state.delete("b");
        state.put("c", r#"{"size":6}"#);
        state.off = false;
        state.starting = true;
    });
    sleep(Duration::from_secs(1)).await;
    node.node.change(|state| state.starting = false);
    next().await;
    next().await;
    let expected = [
        r#"put a {"size":1}"#,
        r#"put b {"size":2}"#,
        r#"put a {"size":3}"#,
        r#"put a {"size":4}"#,
        r#"put a {"size":5}"#,
        r#"put c {"size":6}"#,
        r#"deleted b {"size":2}"#,
    ];
    assert_eq!(seen, expected);
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = end(child).await;
    assert_eq!(ended.code, 130, "{}", ended.err);
    assert!(ended.err.contains("connection lost") && ended.err.contains("connected again"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_goes_on_where_it_stopped() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let mut child = operator.start(&node, &["logs", "gateway", "-f"]);
    let mut out = lines(&mut child);
    for round in 0..5 {
        node.node.change(|state| {
            let from = state.log.len();
            state.log.extend((from..from + 50).map(|at| format!("line {at}").into_bytes()));
        });
        for at in round * 50..round * 50 + 50 {
            assert_eq!(line(&mut out).await, format!("line {at}"));
            // not before it is connected
            if at % 50 == 0 {
                node.cut();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_as_a_table_keeps_its_columns_and_ends_with_the_time() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| state.put("a-long-name", r#"{"size":1}"#));
    let mut child = operator.start(&node, &["get", "things", "-w", "--timeout", "4s"]);
    let mut out = lines(&mut child);
    assert_eq!(line(&mut out).await, "EVENT     ID            SIZE");
    assert_eq!(line(&mut out).await, "put       a-long-name   1 B");
    node.node.change(|state| state.delete("a-long-name"));
    assert_eq!(line(&mut out).await, "deleted   a-long-name   1 B");
    assert_eq!(end(child).await.code, 6);
}

/// The cursor that the log is asked for with the next time.
async fn next_cursor(node: &Fake, seen: &mut usize) -> String {
    let mut changed = node.node.changed.subscribe();
    let next = async {
        loop {
            changed.borrow_and_update();
            if let Some(cursor) = node.node.state.lock().unwrap().cursors.get(*seen).cloned() {
                return cursor;
            }
            changed.changed().await.unwrap();
        }
    };
    let cursor = timeout(LIMIT, next).await.expect("the log is asked for");
    *seen += 1;
    cursor
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_followed_from_its_end_misses_nothing_before_its_first_line() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| state.log = vec![b"old".to_vec(), b"older".to_vec()]);
    let mut child = operator.start(&node, &["logs", "gateway", "-f", "--tail", "0"]);
    let mut out = lines(&mut child);
    let mut seen = 0;
    // Until apictl knows its place: a connection may be cut before the node has said it.
    while next_cursor(&node, &mut seen).await != "2" {
        node.cut();
    }
    node.node.change(|state| state.off = true);
    node.cut();
    node.node.change(|state| {
        state.log.push(b"new".to_vec());
        state.off = false;
    });
    assert_eq!(line(&mut out).await, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_says_wrong_is_told_and_the_others_go_on() {
    let (operator, good, bad) = (Operator::new(), Fake::start().await, Fake::start().await);
    good.node.change(|state| state.put("a", r#"{"size":1}"#));
    bad.node.change(|state| {
        state.put("b", "no JSON");
        state.put("c", r#"{"size":3}"#);
    });
    let nodes = format!("{},{}", bad.address, good.address);
    let pins = format!("{},{}", bad.fingerprint, good.fingerprint);
    let to = ["-n", &nodes, "--fingerprint", &pins];
    for format in ["table", "json"] {
        let once = operator.run(&[&["get", "things", "-o", format][..], &to].concat()).await;
        assert_eq!(once.code, 1, "{}", once.err);
        assert!(once.err.contains(&format!("{}: thing b: the node's value is no JSON", bad.address)), "{}", once.err);
        let others = once.out.contains(&good.address.to_string()) && once.out.contains(&bad.address.to_string());
        assert!(others && !once.out.contains("no JSON"), "{}", once.out);
    }

    let mut child = operator.command(&[&["get", "things", "-w", "-o", "json"][..], &to].concat()).spawn().unwrap();
    let mut out = lines(&mut child);
    let mut next = async || serde_json::from_str::<Value>(&line(&mut out).await).unwrap()["id"].clone();
    let mut first = [next().await, next().await];
    first.sort_by_key(ToString::to_string);
    assert_eq!(first, ["a", "c"]);
    bad.node.change(|state| state.put("b", r#"{"size":2}"#));
    assert_eq!(next().await, "b");
    good.node.change(|state| state.put("d", r#"{"size":4}"#));
    assert_eq!(next().await, "d");
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = end(child).await;
    assert_eq!(ended.err.matches("no JSON").count(), 1, "{}", ended.err);
}
