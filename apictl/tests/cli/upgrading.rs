//! Upgrades: asked for, followed over a reboot, ended by the code of their outcome; several nodes one after the other.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::{Fake, LIMIT, Operator, end};

const IMAGE: &str = "r.example/stele:0.2.0";

/// Waits until the node was asked for something.
async fn asked(node: &Fake) {
    let mut changed = node.node.changed.subscribe();
    tokio::time::timeout(LIMIT, async {
        while node.node.state.lock().unwrap().asked.is_empty() {
            changed.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
}

fn job(node: &Fake, phase: &str, step: &str, reason: &str) {
    let value = json!({ "kind": "upgrade", "phase": phase, "step": step, "doneBytes": 1 << 20, "totalBytes": 3 << 20,
        "reason": reason, "remedy": "what to do", "warnings": ["signature: none"], "later": {} });
    node.node.change(|state| state.put("7", &value.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_followed_over_the_reboot_to_its_end() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let child = operator.start(&node, &["upgrade", "--image", IMAGE, "--allow-downgrade"]);
    asked(&node).await;
    job(&node, "running", "fetch", "");
    sleep(Duration::from_millis(500)).await;
    // It reboots; what it keeps is read late.
    node.node.change(|state| state.off = true);
    node.cut();
    sleep(Duration::from_millis(500)).await;
    node.node.change(|state| {
        state.epoch += 1;
        state.history.clear();
        state.objects.clear();
        state.off = false;
    });
    sleep(Duration::from_millis(1500)).await;
    job(&node, "running", "prove", "");
    job(&node, "done", "prove", "version 0.2.0 runs and is blessed");
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    for said in ["job 7; it goes on when you leave", ": fetch", "warning: signature: none", "connection lost"] {
        assert!(ended.err.contains(said), "{said}: {}", ended.err);
    }
    assert!(ended.err.ends_with("version 0.2.0 runs and is blessed\n"), "{}", ended.err);
    assert_eq!(node.node.state.lock().unwrap().asked, [format!("upgrade: {IMAGE} true false")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_that_of_the_outcome() {
    for (phase, code) in [("refused", 4), ("failed", 1), ("returned", 7), ("cancelled", 1)] {
        let (operator, node) = (Operator::new(), Fake::start().await);
        job(&node, phase, "verify", "floor: below it");
        let ended = operator.ask(&node, &["upgrade", "--image", IMAGE]).await;
        assert_eq!(ended.code, code, "{phase}: {}", ended.err);
        assert!(ended.err.contains("floor: below it") && ended.err.contains("what to do"), "{}", ended.err);
    }
    let (operator, node) = (Operator::new(), Fake::start().await);
    assert_eq!(operator.ask(&node, &["upgrade", "--image", "stele:1"]).await.code, 2, "no registry is named");
    assert_eq!(operator.ask(&node, &["upgrade", "--image", IMAGE, "--no-wait"]).await.code, 0);
    let late = operator.ask(&node, &["upgrade", "--image", IMAGE, "--timeout", "2s"]).await;
    assert_eq!(late.code, 6, "{}", late.err);
    node.node.change(|state| state.busy = true);
    assert_eq!(operator.ask(&node, &["upgrade", "--image", IMAGE]).await.code, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_nodes_none_is_begun_after_one_that_failed() {
    let operator = Operator::new();
    let nodes = [Fake::start().await, Fake::start().await, Fake::start().await];
    job(&nodes[0], "done", "prove", "well");
    job(&nodes[1], "returned", "prove", "gate web: no answer");
    let addresses = nodes.each_ref().map(|node| node.address.to_string()).join(",");
    let fingerprints = nodes.each_ref().map(|node| node.fingerprint.clone()).join(",");
    let ended = operator.run(&["upgrade", "--image", IMAGE, "-e", &addresses, "--fingerprint", &fingerprints]).await;
    assert_eq!(ended.code, 7, "{}", ended.err);
    assert!(ended.err.contains(&format!("not begun: {}", nodes[2].address)), "{}", ended.err);
    assert!(ended.err.contains("gate web: no answer"), "{}", ended.err);
    assert!(nodes[2].node.state.lock().unwrap().asked.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_nobody_waits_for_are_begun_together_only_if_that_is_said() {
    let operator = Operator::new();
    let nodes = [Fake::start().await, Fake::start().await];
    let addresses = nodes.each_ref().map(|node| node.address.to_string()).join(",");
    let fingerprints = nodes.each_ref().map(|node| node.fingerprint.clone()).join(",");
    let words = ["upgrade", "--image", IMAGE, "-e", &addresses, "--fingerprint", &fingerprints, "--no-wait"];
    let refused = operator.run(&words).await;
    assert!(refused.code == 2 && refused.err.contains("--parallel 2"), "{}: {}", refused.code, refused.err);
    assert!(nodes.iter().all(|node| node.node.state.lock().unwrap().asked.is_empty()));
    let begun = operator.run(&[&words[..], &["--parallel", "2", "-o", "json"]].concat()).await;
    assert_eq!(begun.code, 0, "{}", begun.err);
    let jobs: serde_json::Value = serde_json::from_str(&begun.out).unwrap();
    let jobs: Vec<_> = jobs.as_array().unwrap().iter().map(|one| (&one["job"], &one["outcome"])).collect();
    assert_eq!(jobs, [(&json!(7), &json!(null)), (&json!(7), &json!(null))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_is_confirmed() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let confirmed = operator.ask(&node, &["upgrade", "--confirm"]).await;
    assert!(confirmed.code == 0 && confirmed.err.contains("generation 3 is confirmed"), "{}", confirmed.err);
    assert_eq!(operator.ask(&node, &["upgrade", "--confirm", "--image", IMAGE]).await.code, 2);
    assert_eq!(operator.ask(&node, &["upgrade"]).await.code, 2);
    node.node.change(|state| state.busy = true);
    assert_eq!(operator.ask(&node, &["upgrade", "--confirm"]).await.code, 4);
    assert_eq!(node.node.state.lock().unwrap().asked, ["confirm"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_and_cancelled() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    assert_eq!(operator.ask(&node, &["jobs", "cancel", "7"]).await.code, 0);
    let unknown = operator.ask(&node, &["jobs", "cancel", "8"]).await;
    assert!(unknown.code == 5 && unknown.err.contains("apictl jobs"), "{}: {}", unknown.code, unknown.err);
    assert_eq!(node.node.state.lock().unwrap().asked, ["cancel: 7", "cancel: 8"]);
}
