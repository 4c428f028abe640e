//! Watches and followed logs over broken connections and restarts of machined: no gap, no repetition.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::sleep;

use crate::{Fake, Operator, end, line, lines};

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
