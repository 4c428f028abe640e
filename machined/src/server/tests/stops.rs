//! Reboot and shutdown: answered when init knows, seen by who watches, refused when another stop is under way.

use super::*;

#[tokio::test]
async fn a_reboot_is_answered_then_done_and_seen() {
    let node = node().await;
    let writer = node.store.writer::<Machine>("test").unwrap();
    let mut client = MachineClient::new(node.connect().await);
    let until = v1::Phase::Stopping.into();
    let mut phases = client.watch_phase(v1::WatchPhaseRequest { until }).await.unwrap().into_inner();
    assert_eq!(phases.next().await.unwrap().unwrap().phase(), v1::Phase::Booting);
    writer.put(Machine::ID, machine(Phase::Maintenance, &["no configuration"]));
    let status = phases.next().await.unwrap().unwrap();
    assert_eq!((status.phase(), status.unmet), (v1::Phase::Maintenance, vec!["no configuration".to_owned()]));

    let wish = |boot: &str| v1::RebootRequest {
        reason: "a\nreason".into(),
        expected_boot_id: boot.into(),
        ..Default::default()
    };
    let refused = client.reboot(wish("the boot before")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("this boot"), "{}", refused.message());
    let answer = client.reboot(wish("")).await.unwrap().into_inner();
    assert_eq!(answer.boot_id, "this boot");
    let request = timeout(SOON, node.stop.requested()).await.unwrap();
    assert_eq!(request.cause, "reboot by 127.0.0.1: a reason");
    let last = phases.next().await.unwrap().unwrap();
    assert_eq!((last.phase(), last.boot_id.as_str()), (v1::Phase::Stopping, "this boot"));
    assert!(phases.next().await.is_none(), "`until` was reached");

    client.reboot(wish("this boot")).await.expect("what happens anyway is granted");
    let refused = client.shutdown(v1::ShutdownRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("reboot by 127.0.0.1"), "{}", refused.message());
    let mut health = HealthClient::new(node.connect().await);
    let not_serving = async {
        while health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status != 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, not_serving).await.unwrap();
}

/// A promise: machined may be killed right after the answer, and init finishes.
#[tokio::test]
async fn a_stop_is_answered_when_init_has_heard_of_it() {
    let mut node = node().await;
    node.init.lock().unwrap().slow = true;
    let mut client = MachineClient::new(node.connect().await);
    let mut asked = client.clone();
    let mut asking = JoinSet::new();
    asking.spawn(async move { asked.shutdown(v1::ShutdownRequest::default()).await });
    let heard = async {
        let stopping = sys::link::Request::Stopping { action: sys::link::Action::PowerOff };
        while !node.init.lock().unwrap().heard.contains(&stopping) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, heard).await.unwrap();
    assert!(timeout(Duration::from_millis(300), asking.join_next()).await.is_err(), "answered before init has");
    assert_eq!(*node.stop.watch().borrow(), stop::State::Running);
    // Instead of an answer the link breaks: nothing was promised.
    node.link.shutdown().await;
    let refused = timeout(SOON, asking.join_next()).await.unwrap().unwrap().unwrap().unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "ENDING");

    node.kill().await;
    node.init.lock().unwrap().slow = false;
    node.start().await;
    client = MachineClient::new(node.connect().await);
    client.shutdown(v1::ShutdownRequest::default()).await.unwrap();
    timeout(SOON, node.stop.requested()).await.unwrap();
}

/// Ctrl-Alt-Del reached init, and machined does not know yet.
#[tokio::test]
async fn a_stop_that_is_not_what_init_has_promised_is_refused() {
    let node = node().await;
    node.init.lock().unwrap().stands = Some(sys::link::Action::Reboot);
    let mut client = MachineClient::new(node.connect().await);
    let refused = client.shutdown(v1::ShutdownRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(*node.stop.watch().borrow(), stop::State::Running);
}
