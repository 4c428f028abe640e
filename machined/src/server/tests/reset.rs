//! A reset over the API: written down before it is answered, refused where it makes no sense, taken back where it does not happen.

use super::*;
use crate::resources::job::{Job, Phase as Jobs};

fn wish(scope: v1::ResetScope) -> v1::ResetRequest {
    v1::ResetRequest { scope: scope.into(), reason: "moves\nout".into(), ..Default::default() }
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().unwrap().reason
}

/// A configured node whose META is a file, and its administrator.
async fn configured() -> (Node, MachineClient<Channel>) {
    let (mut node, cas) = enrolment::configured(false).await;
    node.state.put(crate::state::State::Mounted { root: node.folder.path().into() });
    node.meta.attach(&crate::meta::tests::fresh(node.folder.path())).await.unwrap();
    node.meta.update(|record| record.configured = true).await.unwrap();
    node.kill().await;
    node.start().await;
    let administrator = enrolment::client(&cas.ca, api::roles::Role::Admin);
    let client = MachineClient::new(node.channel(&administrator).await);
    (node, client)
}

#[tokio::test]
async fn it_is_written_down_and_then_the_machine_stops() {
    let (node, mut client) = configured().await;
    let late = v1::ResetRequest { expected_boot_id: "before".into(), ..wish(v1::ResetScope::All) };
    assert_eq!(reason(&client.reset(late).await.unwrap_err()), "OTHER_BOOT");
    let nothing = client.reset(wish(v1::ResetScope::Unspecified)).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    assert_eq!(node.meta.record().reset, None);

    let answer = client.reset(wish(v1::ResetScope::State)).await.unwrap().into_inner();
    assert_eq!(answer.boot_id, "this boot");
    let next = crate::meta::Handle::new("next boot");
    next.attach(&node.path("meta")).await.unwrap();
    let due = next.record().due("next boot").cloned().unwrap();
    assert!(due.scope.state && !due.scope.ephemeral && !due.off, "{due:?}");
    assert!(due.cause.starts_with("reset of STATE by ") && due.cause.ends_with(": moves out"), "{}", due.cause);
    let request = timeout(SOON, node.stop.requested()).await.unwrap();
    assert_eq!((request.action, request.at_once), (stop::Action::Reboot, false));
    assert!(request.cause.contains("alice"), "{}", request.cause);

    // Asked again, for more: it happens all the same.
    let more = v1::ResetRequest { power_off: true, ..wish(v1::ResetScope::Ephemeral) };
    client.reset(more).await.unwrap();
    let reset = node.meta.record().reset.unwrap();
    assert!(reset.scope.state && reset.scope.ephemeral && reset.off, "{reset:?}");
}

#[tokio::test]
async fn by_force_nothing_is_stopped_in_order() {
    let (node, mut client) = configured().await;
    client.reset(v1::ResetRequest { force: true, ..wish(v1::ResetScope::Ephemeral) }).await.unwrap();
    assert!(timeout(SOON, node.stop.requested()).await.unwrap().at_once);
}

#[tokio::test]
async fn what_is_under_way_goes_before_but_by_force() {
    let (node, mut client) = configured().await;
    let job = v1::InstallDiskRequest { disk: "serial=a".into(), ..Default::default() };
    client.install(job).await.unwrap();
    let refused = client.reset(wish(v1::ResetScope::All)).await.unwrap_err();
    assert_eq!(reason(&refused), "JOB_RUNNING", "{}", refused.message());
    assert!(refused.message().contains("job 1 (install)"), "{}", refused.message());
    assert_eq!(node.meta.record().reset, None);
    client.reset(v1::ResetRequest { force: true, ..wish(v1::ResetScope::All) }).await.unwrap();
    assert_eq!(node.store.get::<Job>("1").unwrap().value.phase, Jobs::Running);
}

#[tokio::test]
async fn a_machine_without_configuration_or_without_meta_says_so() {
    let (node, mut client) = configured().await;
    node.meta.update(|record| record.configured = false).await.unwrap();
    let refused = client.reset(wish(v1::ResetScope::All)).await.unwrap_err();
    assert_eq!(reason(&refused), "UNCONFIGURED", "{}", refused.message());
    node.meta.update(|record| record.configured = true).await.unwrap();
    node.meta.detach("its disk was pulled");
    let refused = client.reset(wish(v1::ResetScope::All)).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_META");
    assert!(refused.message().contains("its disk was pulled"), "{}", refused.message());
}

#[tokio::test]
async fn a_stop_that_is_refused_takes_the_wish_back() {
    let (node, mut client) = configured().await;
    client.shutdown(v1::ShutdownRequest::default()).await.unwrap();
    let refused = client.reset(wish(v1::ResetScope::All)).await.unwrap_err();
    assert_eq!(reason(&refused), "STOPPING");
    assert_eq!(node.meta.record().reset, None);

    // init has promised another end, and machined does not know of it yet.
    let (node, mut client) = configured().await;
    node.init.lock().unwrap().stands = Some(sys::link::Action::PowerOff);
    let refused = client.reset(wish(v1::ResetScope::All)).await.unwrap_err();
    assert_eq!(reason(&refused), "STOPPING");
    assert_eq!(node.meta.record().reset, None);
}
