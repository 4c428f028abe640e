//! Whom apictl talks to, and what it says when it does not.

use std::os::unix::fs::PermissionsExt;

use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::{Fake, Operator};

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_node_answers_whatever_the_fingerprint_looks_like() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let pairs: Vec<&str> = node.fingerprint.as_bytes().chunks(2).map(|b| std::str::from_utf8(b).unwrap()).collect();
    let written = pairs.join(":").to_uppercase();
    let endpoint = node.address.to_string();
    let ended = operator.run(&["version", "-e", &endpoint, "--fingerprint", &written, "-o", "json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let printed: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(printed["nodes"][0]["version"], "9.9.9");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_refused_and_both_fingerprints_are_shown() {
    let (operator, node, other) = (Operator::new(), Fake::start().await, Fake::start().await);
    let endpoint = node.address.to_string();
    let ended = operator.run(&["version", "-e", &endpoint, "--fingerprint", &other.fingerprint]).await;
    assert_eq!(ended.code, 8, "{}", ended.err);
    for expected in [&node.fingerprint, &other.fingerprint, "stele: fingerprint"] {
        assert!(ended.err.contains(expected), "{}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_use_prints_the_fingerprint_and_keeps_nothing() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let ended = operator.run(&["get", "things", "-e", &node.address.to_string(), "--insecure"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains(&node.fingerprint), "{}", ended.err);
    assert_eq!(std::fs::read_dir(operator.config()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_node_is_told_apart() {
    let operator = Operator::new();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = closed.local_addr().unwrap().to_string();
    drop(closed);
    let ended = operator.run(&["version", "-e", &endpoint, "--insecure"]).await;
    assert!(ended.code == 3 && ended.err.contains("refused"), "{}: {}", ended.code, ended.err);

    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = web.local_addr().unwrap().to_string();
    let serve = async {
        let (mut stream, _) = web.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Closed at once, what the client sent would be answered by a reset that takes the answer with it.
        stream
    };
    let arguments = ["version", "-e", &endpoint, "--insecure"];
    let (_held, ended) = tokio::join!(serve, operator.run(&arguments));
    assert!(ended.code == 3 && ended.err.contains("does not speak TLS"), "{}: {}", ended.code, ended.err);

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = silent.local_addr().unwrap().to_string();
    let ended = operator.run(&["version", "-e", &endpoint, "--insecure", "--timeout", "500ms"]).await;
    assert!(ended.code == 6 && ended.err.contains("500ms"), "{}: {}", ended.code, ended.err);

    let ended = operator.run(&["version", "-e", "no-such-host.invalid", "--insecure"]).await;
    assert!(ended.code == 3 && ended.err.contains("cannot find the address"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_node_or_fingerprint_the_ways_are_named() {
    let operator = Operator::new();
    let ended = operator.run(&["get", "things"]).await;
    assert!(ended.code == 2 && ended.err.contains("apictl context add"), "{}: {}", ended.code, ended.err);
    let ended = operator.run(&["get", "things", "-e", "127.0.0.1"]).await;
    assert!(ended.code == 2 && ended.err.contains("stele: fingerprint"), "{}: {}", ended.code, ended.err);
    assert_eq!(operator.run(&["get", "--no-such-option"]).await.code, 2);
    assert_eq!(operator.run(&["version"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_a_node() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let mut command = operator.command(&["get", "things"]);
    command.env("APICTL_ENDPOINT", node.address.to_string()).env("APICTL_FINGERPRINT", &node.fingerprint);
    let ended = crate::end(command.spawn().unwrap()).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_keeps_nodes_with_their_fingerprints() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let endpoint = node.address.to_string();
    let ended = operator.run(&["context", "add", "lab", "--endpoint", &endpoint, "--insecure"]).await;
    assert!(ended.code == 0 && ended.err.contains(&node.fingerprint), "{}: {}", ended.code, ended.err);
    let wrong = format!("sha256:{}", "ab".repeat(32));
    for command in [&["context", "add", "other"][..], &["get", "things"]] {
        let trust = ["--endpoint", &endpoint, "--insecure", "--fingerprint", &wrong];
        let ended = operator.run(&[command, &trust].concat()).await;
        assert!(ended.code == 2 && ended.err.contains("contradict"), "{command:?} {}: {}", ended.code, ended.err);
    }
    let file = operator.config().join("apictl/config.yaml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(operator.run(&["get", "things"]).await.code, 0);

    let other = Fake::start().await;
    let pins = format!("{},{}", node.fingerprint, other.fingerprint);
    let both = format!("{endpoint},{}", other.address);
    assert_eq!(operator.run(&["context", "add", "lab", "-e", &both, "--fingerprint", &pins]).await.code, 1);
    assert_eq!(operator.run(&["context", "add", "two", "-e", &both, "--fingerprint", &pins]).await.code, 0);
    assert_eq!(operator.run(&["get", "things", "-n", &other.address.to_string()]).await.code, 0);
    assert_eq!(operator.run(&["reboot", "--no-wait"]).await.code, 2, "nobody named the nodes to reboot");
    assert_eq!(operator.run(&["context", "use", "lab"]).await.code, 0);
    let listed = operator.run(&["context", "list", "-o", "json"]).await.out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["current"]), (&"lab".into(), &true.into()));
    assert_eq!(operator.run(&["context", "remove", "lab"]).await.code, 0);
    assert_eq!(operator.run(&["context", "remove", "lab"]).await.code, 5);
    assert_eq!(operator.run(&["get", "things", "--context", "lab"]).await.code, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_apictl_at_once_lose_no_context() {
    let operator = Operator::new();
    let pin = "a".repeat(64);
    let names: Vec<String> = (0..8).map(|at| format!("c{at}")).collect();
    let add =
        |name: &String| operator.command(&["context", "add", name, "-e", "h", "--fingerprint", &pin]).spawn().unwrap();
    for child in names.iter().map(add).collect::<Vec<_>>() {
        assert_eq!(crate::end(child).await.code, 0);
    }
    let listed = operator.run(&["context", "list", "-o", "json"]).await.out;
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&listed).unwrap().len(), 8);
}
