//! Every call leaves its record, by real connections.

use api::{
    audit::{Chain, Record},
    v1::audit_client::AuditClient,
};
use sha2::{Digest, Sha256};

use super::{enrolment::*, *};
use crate::state::State;

#[tokio::test]
async fn who_did_what_is_written_before_it_is_answered() {
    let (node, cas) = configured(true).await;
    node.state.put(State::Mounted { root: node.folder.path().into() });
    let alice = client(&cas.ca, api::roles::Role::Admin);
    let channel = node.channel(&alice).await;
    let mut audit = AuditClient::new(channel.clone());
    let key = api::pki::Key::make().unwrap();
    let renew = v1::RenewRequest { request: key.request("x", &[]).unwrap().pem() };
    let bytes = {
        let message = prost::Message::encode_to_vec(&renew);
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        frame
    };
    let mut enrolment = v1::enrolment_client::EnrolmentClient::new(channel.clone());
    enrolment.renew(renew).await.unwrap();
    let head = audit.head(v1::HeadRequest {}).await.unwrap().into_inner();
    assert_eq!((head.sequence, head.oldest), (1, 1), "it was there before the answer");
    // Refused, and by whom it was.
    let reader = client(&cas.ca, api::roles::Role::Reader);
    let reboot = v1::RebootRequest { reason: "no".into(), ..Default::default() };
    let refused = MachineClient::new(node.channel(&reader).await).reboot(reboot).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut refused = AuditClient::new(node.channel(&reader).await);
    assert_eq!(refused.head(v1::HeadRequest {}).await.unwrap_err().code(), Code::PermissionDenied);

    let request = v1::EntriesRequest { from: 0, follow: true };
    let mut entries = audit.entries(request).await.unwrap().into_inner();
    let mut chain = Chain::default();
    let mut next = async || -> Record {
        let entry = timeout(SOON, entries.next()).await.unwrap().unwrap().unwrap();
        let record = chain.push(&entry.record).unwrap();
        assert_eq!(record.sequence, entry.sequence);
        record
    };
    let renewed = next().await;
    assert_eq!((renewed.method.as_str(), renewed.code), ("/stele.v1.Enrolment/Renew", 0));
    assert_eq!(renewed.request_bytes, bytes.len() as u64);
    assert_eq!(renewed.digest, <[u8; 32]>::from(Sha256::digest(&bytes)));
    assert!(renewed.subject.contains("CN=alice") && renewed.role == "stele:admin" && renewed.change);
    assert!(renewed.address.starts_with("127.0.0.1:"));
    // Reads come within seconds, in a batch, and what was refused is none the less: the head was asked for twice, once in vain.
    let batch = [next().await, next().await, next().await];
    let (refused, reads): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|one| one.method == "/stele.v1.Machine/Reboot");
    let [refused] = refused.as_slice() else { panic!("{refused:?} {reads:?}") };
    assert_eq!((refused.role.as_str(), refused.address.as_str()), ("stele:reader", "127.0.0.1"));
    assert_eq!((refused.code, refused.change), (Code::PermissionDenied as u32, false));
    assert!(reads.iter().all(|read| !read.change && read.method.starts_with("/stele.v1.Audit/")), "{reads:?}");
}

#[tokio::test]
async fn what_a_request_allows_that_is_refused_otherwise_is_told_in_words() {
    let (node, cas) = configured(true).await;
    node.state.put(State::Mounted { root: node.folder.path().into() });
    let channel = node.channel(&client(&cas.ca, api::roles::Role::Admin)).await;
    for (allow_downgrade, retry_failed) in [(false, false), (true, false), (true, true)] {
        let image = "r.example/stele:0.1.0".into();
        let upgrade = v1::UpgradeRequest { image, allow_downgrade, retry_failed };
        // This node has none; what was asked for is recorded all the same.
        MachineClient::new(channel.clone()).upgrade(upgrade).await.unwrap_err();
    }
    let request = v1::EntriesRequest { from: 0, follow: true };
    let mut entries = AuditClient::new(channel).entries(request).await.unwrap().into_inner();
    let mut methods = Vec::new();
    while methods.len() < 3 {
        let entry = timeout(SOON, entries.next()).await.unwrap().unwrap().unwrap();
        let (record, _) = Record::parse(&entry.record).unwrap();
        methods.extend(record.method.strip_prefix("/stele.v1.Machine/Upgrade").map(ToOwned::to_owned));
    }
    methods.sort();
    assert_eq!(methods, ["", " --allow-downgrade", " --allow-downgrade --retry-failed"]);
}

#[tokio::test]
async fn a_change_whose_client_goes_away_is_recorded_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = crate::state::Handle::new();
    state.put(State::Mounted { root: folder.path().into() });
    let events = Events::open(&Store::new(), folder.path().join("events")).unwrap();
    let (log, writer) = crate::audit::build(state, events);
    let peer = crate::server::peer::Peer { address: "192.0.2.1:1".parse().unwrap(), certificate: None };
    drop(crate::server::audit::Pending::new(log.clone(), peer.clone(), "/stele.v1.Machine/Reboot"));
    crate::server::audit::Pending::new(log.clone(), peer, "/stele.v1.Machine/Version").ended(Code::Ok).await;
    let mut shown = log.shown();
    tokio::select! {
        () = writer.run() => unreachable!(),
        reached = timeout(SOON, shown.wait_for(|shown| shown.head.sequence == 1)) => drop(reached.unwrap().unwrap()),
    }
    let (page, _) = log.page(1).await.unwrap().unwrap();
    let (record, _) = Record::parse(&page[0].1).unwrap();
    assert_eq!((record.code, record.method.as_str()), (Code::Cancelled as u32, "/stele.v1.Machine/Reboot"));
    assert!(record.change);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_a_thousand_times_fills_one_record_and_only_the_probe_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let state = crate::state::Handle::new();
    state.put(State::Mounted { root: folder.path().into() });
    let events = Events::open(&Store::new(), folder.path().join("events")).unwrap();
    let (log, writer) = crate::audit::build(state, events);
    let mut task = tokio::task::JoinSet::new();
    task.spawn(writer.run());
    let ended = async |organisations: &[&str], path: &str, code| {
        let certificate = crate::gateway::preamble::Certificate {
            subject: "CN=alice".into(),
            common_name: "alice".into(),
            organisations: organisations.iter().map(|one| (*one).to_owned()).collect(),
            fingerprint: [1; 32],
            rescue: false,
            names: vec![],
            not_before: 0,
            not_after: i64::MAX,
        };
        let peer = crate::server::peer::Peer {
            address: "192.0.2.1:1".parse().unwrap(),
            certificate: Some(Arc::new(certificate)),
        };
        crate::server::audit::Pending::new(log.clone(), peer, path).ended(code).await;
    };
    let (revert, lives) = ("/stele.v1.Config/Revert", "/grpc.health.v1.Health/Check");
    let rows: [(&[&str], &str, Code, u32); 7] = [
        (&["stele:reader"], revert, Code::PermissionDenied, 1000),
        (&["stele:admin"], revert, Code::InvalidArgument, 10),
        (&["stele:probe"], lives, Code::Ok, 10),
        (&["stele:probe"], "/stele.v1.Machine/Version", Code::PermissionDenied, 2),
        (&["stele:admin", "stele:probe"], lives, Code::Ok, 3),
        (&["stele:admin", "stele:probe"], revert, Code::Ok, 1),
        (&["stele:admin"], lives, Code::Ok, 4),
    ];
    for (organisations, path, code, times) in rows {
        for _ in 0..times {
            ended(organisations, path, code).await;
        }
    }
    let mut shown = log.shown();
    timeout(SOON, shown.wait_for(|shown| shown.head.sequence >= 6)).await.unwrap().unwrap();
    let (page, _) = log.page(1).await.unwrap().unwrap();
    let records: Vec<_> = page.iter().map(|(_, bytes)| Record::parse(bytes).unwrap().0).collect();
    let mut found: Vec<_> =
        records.iter().map(|one| (one.role.as_str(), one.method.as_str(), one.calls, one.change)).collect();
    found.sort_unstable();
    let all = "stele:admin,stele:probe";
    let expected = [
        ("stele:admin", lives, 4, false),
        ("stele:admin", revert, 10, false),
        (all, lives, 3, false),
        (all, revert, 1, true),
        ("stele:probe", "/stele.v1.Machine/Version", 2, false),
        ("stele:reader", revert, 1000, false),
    ];
    assert_eq!(found, expected);
}
