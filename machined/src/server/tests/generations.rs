//! Rolling back, confirming a trial, and the recovery system, over the API.

use ::boot::state::{Failure, Phase as Proven, State as Boot};
use ::boot::uki::{Digest, Uki};

use super::*;
use crate::generations::{Handle, Running};

/// A machine that no loader started.
pub(super) fn none() -> Handle {
    Handle::fixed(crate::meta::Handle::new("boot"), Running::Foreign("it is a test".into()))
}

/// Generation 1 blessed, 2 on trial and running.
async fn on_trial(folder: &std::path::Path) -> Handle {
    let meta = crate::meta::Handle::new("boot");
    meta.attach(&crate::meta::tests::fresh(folder)).await.unwrap();
    let uki = |number| Uki { digest: Digest([number; 32]), size: 1000 };
    let (state, number) = Boot::first(uki(1), Some(uki(9))).stage(1, uki(2)).unwrap();
    meta.change_boot(move |_| Ok::<_, ()>(state)).await.unwrap().unwrap();
    Handle::fixed(meta, Running::Generation(number))
}

/// A configured node with such a machine, and its operator.
async fn trying() -> (Node, MachineClient<Channel>) {
    trying_as(api::roles::Role::Operator).await
}

async fn trying_as(role: api::roles::Role) -> (Node, MachineClient<Channel>) {
    let (mut node, cas) = enrolment::configured(false).await;
    node.state.put(crate::state::State::Mounted { root: node.folder.path().into() });
    node.generations = on_trial(node.folder.path()).await;
    node.kill().await;
    node.start().await;
    let client = MachineClient::new(node.channel(&enrolment::client(&cas.ca, role)).await);
    (node, client)
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn a_rollback_ends_the_trial_and_reboots() {
    let (node, mut client) = trying().await;
    let wish = |generation, boot: &str| v1::RollbackRequest {
        generation,
        reason: "too\nslow".into(),
        expected_boot_id: boot.into(),
    };
    for (generation, boot, code, expected) in [
        (0, "the boot before", Code::FailedPrecondition, "OTHER_BOOT"),
        (7, "", Code::NotFound, "UNKNOWN_GENERATION"),
        (2, "", Code::FailedPrecondition, "GENERATION_UNPROVEN"),
    ] {
        let refused = client.rollback(wish(generation, boot)).await.unwrap_err();
        assert_eq!((refused.code(), &*reason(&refused)), (code, expected), "{}", refused.message());
    }
    assert_eq!(node.generations.view().state.unwrap().trial().unwrap().number, 2, "nothing was changed");
    let answer = client.rollback(wish(0, "this boot")).await.unwrap().into_inner();
    assert_eq!((answer.generation, answer.boot_id.as_str()), (1, "this boot"));
    let state = node.generations.view().state.unwrap();
    assert_eq!(state.generation(2).unwrap().phase, Proven::Failed(Failure::Operator));
    let request = timeout(SOON, node.stop.requested()).await.unwrap();
    assert!(request.cause.contains("alice"), "{}", request.cause);
    assert!(request.cause.ends_with(": rollback to generation 1: too slow"), "{}", request.cause);
}

#[tokio::test]
async fn a_rollback_whose_reboot_is_refused_changes_nothing() {
    let (node, mut client) = trying().await;
    let before = node.generations.view().state;
    node.init.lock().unwrap().stands = Some(sys::link::Action::PowerOff);
    let refused = client.rollback(v1::RollbackRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), "STOPPING");
    assert_eq!(node.generations.view().state, before);
}

#[tokio::test]
async fn no_other_start_is_chosen_while_a_job_would_undo_it() {
    let (node, mut client) = trying_as(api::roles::Role::Admin).await;
    let before = node.generations.view().state;
    let install = v1::InstallDiskRequest { disk: "serial=a".into(), ..Default::default() };
    let job = client.install(install).await.unwrap().into_inner().job;
    let recovery = v1::RebootRequest { recovery: true, ..Default::default() };
    let refused = [
        client.rollback(v1::RollbackRequest::default()).await.unwrap_err(),
        client.reboot(recovery.clone()).await.unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(reason(&refused), "JOB_RUNNING");
    }
    assert_eq!(node.generations.view().state, before);
    client.cancel_job(v1::CancelJobRequest { job }).await.unwrap();
    client.reboot(recovery).await.unwrap();
}

#[tokio::test]
async fn an_operator_confirms_a_trial() {
    let (node, mut client) = trying().await;
    let confirmed = client.confirm_upgrade(v1::ConfirmUpgradeRequest {}).await.unwrap().into_inner();
    assert!(confirmed.generation == 2 && node.generations.confirmed());
    node.generations.bless(1).await.unwrap();
    let refused = client.confirm_upgrade(v1::ConfirmUpgradeRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_TRIAL");
}

#[tokio::test]
async fn a_reboot_goes_into_recovery_once_and_only_where_there_is_one() {
    let (node, mut client) = trying().await;
    let wish = |boot: &str| v1::RebootRequest { recovery: true, expected_boot_id: boot.into(), ..Default::default() };
    assert_eq!(reason(&client.reboot(wish("the boot before")).await.unwrap_err()), "OTHER_BOOT");
    assert!(!node.generations.view().state.unwrap().recover);
    client.reboot(wish("")).await.unwrap();
    assert!(node.generations.view().state.unwrap().recover);
    let request = timeout(SOON, node.stop.requested()).await.unwrap();
    assert!(request.cause.ends_with(": into the recovery system"), "{}", request.cause);

    let node = super::node().await;
    let mut client = MachineClient::new(node.connect().await);
    let refused = client.reboot(wish("")).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_GENERATIONS");
    assert!(refused.message().contains("it is a test"), "{}", refused.message());
    assert_eq!(*node.stop.watch().borrow(), stop::State::Running);
}
