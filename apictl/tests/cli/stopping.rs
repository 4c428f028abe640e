//! Reboot, rollback and shutdown: what is asked, what is watched, when it is over.

use std::time::Duration;

use api::v1::Phase;
use tokio::time::{Instant, sleep};

use crate::{Fake, LIMIT, Operator, end};

/// Waits until the node was asked to stop.
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

/// The node goes down, as it does: steps, then nothing.
async fn goes_down(node: &Fake) {
    asked(node).await;
    sleep(Duration::from_millis(300)).await;
    node.node.change(|state| state.enter(Phase::Stopping, "unmounting"));
    sleep(Duration::from_millis(300)).await;
    node.node.change(|state| state.off = true);
    node.cut();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_is_watched_until_the_node_is_back() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let child = operator.start(&node, &["reboot", "--reason", "new memory"]);
    goes_down(&node).await;
    sleep(Duration::from_millis(700)).await;
    node.node.change(|state| {
        state.boot = "boot-2".into();
        state.enter(Phase::Booting, "");
        state.phase.unmet = vec!["no address yet".into()];
        state.off = false;
    });
    sleep(Duration::from_millis(1500)).await;
    node.node.change(|state| state.enter(Phase::Maintenance, ""));
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    for expected in ["unmounting", "does not answer", "booting: no address yet", "is back (maintenance)"] {
        assert!(ended.err.contains(expected), "{expected}: {}", ended.err);
    }
    assert_eq!(node.node.state.lock().unwrap().asked, ["reboot: new memory"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_watched_until_the_node_is_silent() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let child = operator.start(&node, &["shutdown"]);
    goes_down(&node).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("does not answer any more"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_come_back_is_exit_code_6() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let child = operator.start(&node, &["reboot", "--timeout", "3s"]);
    goes_down(&node).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 6, "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_accept_counts_too() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| state.slow = Duration::from_secs(6));
    let child = operator.start(&node, &["reboot", "--timeout", "8s"]);
    asked(&node).await;
    let accepted = Instant::now();
    assert_eq!(end(child).await.code, 6);
    assert!(accepted.elapsed() < Duration::from_secs(7), "2 s were left: {:?}", accepted.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_exit_code_4_with_its_remedy() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| state.busy = true);
    let ended = operator.ask(&node, &["reboot"]).await;
    assert!(ended.code == 4 && ended.err.contains("wait for its end"), "{}: {}", ended.code, ended.err);
    node.node.change(|state| state.busy = false);
    assert_eq!(operator.ask(&node, &["reboot", "--no-wait"]).await.code, 0);
}

/// The node is back, in this phase.
fn comes_back(node: &Fake, phase: Phase) {
    node.node.change(|state| {
        state.boot = "boot-2".into();
        state.enter(phase, "");
        state.off = false;
    });
}

fn generation(node: &Fake, id: &str, marks: &[&str]) {
    let value = serde_json::json!({ "state": "blessed", "marks": marks });
    node.node.change(|state| state.put(id, &value.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_watched_until_that_generation_runs() {
    for (arguments, running, code) in [(&["rollback"][..], "1", 0), (&["rollback", "--to", "1"], "2", 7)] {
        let (operator, node) = (Operator::new(), Fake::start().await);
        let child = operator.start(&node, arguments);
        goes_down(&node).await;
        comes_back(&node, Phase::Running);
        sleep(Duration::from_millis(500)).await;
        generation(&node, "3", &["current"]);
        generation(&node, running, &["running"]);
        let ended = end(child).await;
        assert_eq!(ended.code, code, "{}", ended.err);
        assert!(ended.err.contains("reboots into generation 1"), "{}", ended.err);
        assert!(
            ended.err.contains(&format!("back {}with generation {running}", if code == 0 { "(running) " } else { "" })),
            "{}",
            ended.err
        );
    }
    let (operator, node) = (Operator::new(), Fake::start().await);
    let unknown = operator.ask(&node, &["rollback", "--to", "9"]).await;
    assert!(unknown.code == 5 && unknown.err.contains("apictl generations"), "{}: {}", unknown.code, unknown.err);
    assert_eq!(operator.ask(&node, &["rollback", "--to", "0"]).await.code, 2);
    assert_eq!(operator.ask(&node, &["rollback", "--no-wait", "--reason", "slow"]).await.code, 0);
    assert_eq!(node.node.state.lock().unwrap().asked, ["rollback 0: slow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_is_what_was_asked_for_or_not() {
    let cases = [(true, Phase::Recovery, 0), (true, Phase::Running, 7), (false, Phase::Recovery, 7)];
    for (recovery, phase, code) in cases {
        let (operator, node) = (Operator::new(), Fake::start().await);
        let arguments = ["reboot", "--recovery"];
        let child = operator.start(&node, &arguments[..1 + usize::from(recovery)]);
        goes_down(&node).await;
        comes_back(&node, phase);
        let ended = end(child).await;
        assert_eq!(ended.code, code, "{recovery} {phase:?}: {}", ended.err);
        assert!(code == 0 || ended.err.contains("apictl get boot-record"), "{}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_followed_to_a_node_that_nobody_knows() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| state.enter(Phase::Running, ""));
    let child = operator.start(&node, &["reset", "all", "--yes", "--force", "--reason", "sold"]);
    // Who connects from here on is shown the new one: a connection never changes what it was shown.
    asked(&node).await;
    node.shows_another();
    goes_down(&node).await;
    // Connections end before the next boot says anything.
    sleep(Duration::from_millis(700)).await;
    comes_back(&node, Phase::Maintenance);
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let now = node.shown();
    for expected in ["wipes before it uses anything", "in maintenance", &now, "apictl apply-config -e"] {
        assert!(ended.err.contains(expected), "{expected}: {}", ended.err);
    }
    assert_ne!(now, node.fingerprint);
    assert_eq!(node.node.state.lock().unwrap().asked, ["reset all true false: sold"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_ephemeral_is_followed_until_the_node_is_back_and_one_with_off_until_it_is_silent() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.change(|state| state.enter(Phase::Running, ""));
    let child = operator.start(&node, &["reset", "ephemeral", "--yes"]);
    goes_down(&node).await;
    comes_back(&node, Phase::Running);
    let ended = end(child).await;
    assert!(ended.code == 0 && ended.err.contains("is back (running)"), "{}", ended.err);

    let node = Fake::start().await;
    node.node.change(|state| state.enter(Phase::Running, ""));
    let child = operator.start(&node, &["reset", "state", "--off", "--yes"]);
    goes_down(&node).await;
    let ended = end(child).await;
    assert!(ended.code == 0 && ended.err.contains("then switches off"), "{}", ended.err);
    assert_eq!(node.node.state.lock().unwrap().asked, ["reset state false true: "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_not_done_unasked_nor_where_nothing_is_to_lose() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let nothing = operator.ask(&node, &["reset", "all", "--yes"]).await;
    assert!(nothing.code == 4 && nothing.err.contains("in maintenance"), "{}: {}", nothing.code, nothing.err);
    node.node.change(|state| state.enter(Phase::Running, ""));
    let nobody = operator.ask(&node, &["reset", "all"]).await;
    assert!(nobody.code == 2 && nobody.err.contains("--yes"), "{}: {}", nobody.code, nobody.err);
    assert_eq!(operator.ask(&node, &["reset"]).await.code, 2);
    assert!(node.node.state.lock().unwrap().asked.is_empty());
}
