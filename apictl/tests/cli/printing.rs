//! What is printed, and nothing that a terminal would obey.

use serde_json::Value;

use crate::{Fake, Operator, end, line, lines};

async fn with_things() -> Fake {
    let node = Fake::start().await;
    node.node.change(|state| {
        state.put("a", r#"{"size":1,"note":"first"}"#);
        state.put("b", r#"{"size":22,"note":"\u001b]0;owned\u0007"}"#);
    });
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_lists_and_objects() {
    let (operator, node) = (Operator::new(), with_things().await);
    assert_eq!(operator.ask(&node, &["get", "th"]).await.out, "ID   SIZE\na    1 B\nb    22 B\n");
    let wide = operator.ask(&node, &["get", "thing", "-o", "wide"]).await.out;
    assert_eq!(wide, "ID   SIZE   NOTE\na    1 B    first\nb    22 B   \\x1b]0;owned\\x07\n");
    let list: Value = serde_json::from_str(&operator.ask(&node, &["get", "things", "-o", "json"]).await.out).unwrap();
    assert_eq!((&list[0]["id"], &list[1]["value"]["size"], list[0].get("node")), (&"a".into(), &22.into(), None));
    let one: Value =
        serde_json::from_str(&operator.ask(&node, &["get", "thing", "a", "-o", "json"]).await.out).unwrap();
    assert_eq!((&one["type"], &one["owner"], &one["phase"]), (&"thing".into(), &"test".into(), &"running".into()));
    let yaml = operator.ask(&node, &["get", "thing", "a", "-o", "yaml"]).await.out;
    assert!(yaml.starts_with("type: thing\nid: a\n"), "{yaml}");
    assert!(operator.ask(&node, &["get"]).await.out.contains("things"));
    assert_eq!(operator.ask(&node, &["inspect", "controllers", "-o", "dot"]).await.out, "digraph {}\n");
    assert!(operator.ask(&node, &["inspect", "controllers"]).await.out.contains("network/link"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_exit_code_5_with_a_remedy() {
    let (operator, node) = (Operator::new(), with_things().await);
    let ended = operator.ask(&node, &["get", "lniks"]).await;
    assert!(ended.code == 5 && ended.err.contains("things"), "{}: {}", ended.code, ended.err);
    let ended = operator.ask(&node, &["get", "thing", "zz"]).await;
    assert!(ended.code == 5 && ended.err.contains("there are: a, b"), "{}: {}", ended.code, ended.err);
    assert_eq!(operator.ask(&node, &["logs", "nobody"]).await.code, 5);
    assert_eq!(operator.ask(&node, &["get", "things", "-o", "raw"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_stand_side_by_side_and_one_that_is_away_takes_nothing() {
    let (operator, a, b) = (Operator::new(), with_things().await, with_things().await);
    let nodes = format!("{},{}", a.address, b.address);
    let pins = format!("{},{}", a.fingerprint, b.fingerprint);
    let arguments = ["get", "thing", "a", "-o", "json", "-n", &nodes, "--fingerprint", &pins];
    let list: Value = serde_json::from_str(&operator.run(&arguments).await.out).unwrap();
    assert_eq!((&list[0]["node"], &list[1]["node"]), (&a.address.to_string().into(), &b.address.to_string().into()));

    b.node.change(|state| state.off = true);
    let ended = operator.run(&["get", "things", "-n", &nodes, "--fingerprint", &pins]).await;
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.out.starts_with("NODE") && ended.out.contains(&a.address.to_string()), "{}", ended.out);
    assert!(ended.err.contains(&b.address.to_string()), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_escaped_unless_raw() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| state.log = vec![b"one".to_vec(), b"two \x1b[2J\xff".to_vec()]);
    assert_eq!(operator.ask(&node, &["logs", "gateway"]).await.out, "one\ntwo \\x1b[2J\\xff\n");
    assert_eq!(operator.ask(&node, &["logs", "gateway", "--tail", "1"]).await.out, "two \\x1b[2J\\xff\n");
    assert_eq!(
        operator.ask(&node, &["dmesg", "--tail", "2"]).await.out.lines().next(),
        Some("1970-01-01T00:00:01.000Z one")
    );
    let raw = operator.command(&["logs", "gateway", "-o", "raw"]).args(crate::pinned(&node)).output().await.unwrap();
    assert_eq!(raw.stdout, b"one\ntwo \x1b[2J\xff\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_it_quietly() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| state.log = (0..100_000).map(|at| format!("line {at}").into_bytes()).collect());
    let mut child = operator.start(&node, &["logs", "gateway"]);
    let mut out = lines(&mut child);
    assert_eq!(line(&mut out).await, "line 0");
    drop(out);
    let ended = end(child).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_by_its_exit_code() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let ended = operator.ask(&node, &["health"]).await;
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    node.node.change(|state| state.phase.unmet = vec!["no address".into()]);
    let ended = operator.ask(&node, &["health", "-o", "json"]).await;
    assert_eq!(ended.code, 7, "{}", ended.err);
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap()[0]["unmet"][0], "no address");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_to_be_nothing_and_numbers_are_in_their_order() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let ended = operator.ask(&node, &["logs", "gateway"]).await;
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", "the log is empty\n"));
    let ended = operator.ask(&node, &["get", "things"]).await;
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", "no things\n"));
    node.node.change(|state| ["10", "9", "100"].iter().for_each(|id| state.put(id, r#"{"size":1}"#)));
    let out = operator.ask(&node, &["get", "things"]).await.out;
    assert_eq!(out, "ID    SIZE\n9     1 B\n10    1 B\n100   1 B\n");
}
