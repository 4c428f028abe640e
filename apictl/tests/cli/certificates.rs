//! Certificates: made, renewed, revoked, and the authority that signs them replaced.

use std::os::unix::fs::PermissionsExt;

use api::pki::{Ca, Certificate};
use serde_json::Value;

use crate::{Operator, configuring::Scene};

fn ca(scene: &Scene, name: &str) -> Option<Ca> {
    let stream = config::parse(&std::fs::read_to_string(&scene.secrets).unwrap()).unwrap();
    let secret = stream.secrets.as_ref().unwrap().get(name)?.clone();
    Some(Ca::load(secret.certificate.as_ref().unwrap(), secret.key.as_ref().unwrap().as_str()).unwrap())
}

async fn shown(scene: &Scene, arguments: &[&str]) -> Value {
    let ended = scene.run(&[arguments, &["-o", "json"]].concat()).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rescue_key_is_beside_the_bundle_unless_it_is_wanted_elsewhere() {
    let operator = Operator::new();
    let path = |name: &str| operator.config().join(name).display().to_string();
    assert_eq!(operator.run(&["gen", "secrets", "-o", &path("a.yaml")]).await.code, 0);
    let key = |file: &str, name: &str| {
        let stream = config::parse(&std::fs::read_to_string(path(file)).unwrap()).unwrap();
        stream.secrets.unwrap().get(name).map(|secret| secret.key.is_some())
    };
    assert_eq!((key("a.yaml", "api-ca"), key("a.yaml", "rescue-ca")), (Some(true), Some(false)));
    assert_eq!((key("rescue.yaml", "api-ca"), key("rescue.yaml", "rescue-ca")), (None, Some(true)));
    // Another bundle takes nobody's rescue key away.
    let ended = operator.run(&["gen", "secrets", "-o", &path("b.yaml")]).await;
    assert!(ended.code == 1 && ended.err.contains("rescue.yaml is there already"), "{}: {}", ended.code, ended.err);
    assert!(!operator.config().join("b.yaml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_made_once_and_its_rescue_key_can_be_kept_apart() {
    let operator = Operator::new();
    let path = |name: &str| operator.config().join(name).display().to_string();
    let (secrets, rescue) = (path("s.yaml"), path("r.yaml"));
    let made = ["gen", "secrets", "-o", &secrets, "--rescue-out", &rescue];
    assert_eq!(operator.run(&made).await.code, 0);
    let ended = operator.run(&made).await;
    assert!(ended.code == 1 && ended.err.contains("there already"), "{}: {}", ended.code, ended.err);
    for file in [&secrets, &rescue] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let out = path("rescue.pem");
    let ended = operator.run(&["cert", "new", "--rescue", "--secrets", &secrets, "--out", &out]).await;
    assert!(ended.code == 2 && ended.err.contains("the key of rescue-ca"), "{}: {}", ended.code, ended.err);
    let long = ["cert", "new", "--rescue", "--secrets", &rescue, "--out", &out, "--ttl", "25h"];
    assert_eq!(operator.run(&long).await.code, 2);
    assert_eq!(operator.run(&long[..7]).await.code, 0);
    let ended = operator.run(&["cert", "show", &out, "-o", "json"]).await;
    assert!(!ended.out.contains("PRIVATE") && ended.out.contains("stele:admin"), "{}", ended.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_holds_just_the_secrets_that_its_documents_name() {
    let operator = Operator::new();
    let path = |name: &str| operator.config().join(name).display().to_string();
    let (secrets, out) = (path("s.yaml"), path("user-data"));
    assert_eq!(operator.run(&["gen", "secrets", "-o", &secrets]).await.code, 0);
    let make = ["gen", "config", "--secrets", &secrets, "--hostname", "web-1", "--user-data"];
    assert_eq!(operator.run(&make).await.code, 2);
    assert_eq!(operator.run(&[&make[..], &["-o", &out]].concat()).await.code, 0);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let stream = config::parse(&std::fs::read_to_string(&out).unwrap()).unwrap();
    config::complete(&stream.documents).unwrap();
    let held: Vec<_> = stream.secrets.as_ref().unwrap().secrets.keys().collect();
    assert_eq!(held, ["api-ca"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_somebody_else_goes_to_a_file() {
    let scene = Scene::configured().await;
    let out = scene.operator.config().join("alice.pem").display().to_string();
    let new = ["cert", "new", "--secrets", &scene.secrets, "--role", "reader", "--name", "alice", "--out", &out];
    assert_eq!(scene.run(&new).await.code, 0);
    let facts = &shown(&scene, &["cert", "show", &out]).await[0];
    assert_eq!((&facts["subject"], &facts["roles"][0]), (&"CN=alice, O=stele:reader".into(), &"reader".into()));
    assert_eq!(scene.run(&["version", "--client-cert", &out]).await.code, 0);
    let ended = scene.run(&["cert", "new", "--secrets", &scene.secrets, "--role", "king"]).await;
    assert!(ended.code == 2 && ended.err.contains("reader, operator, admin"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_certificate_is_warned_about_and_renewed() {
    let scene = Scene::configured().await;
    // An hour has passed before it begins, so that the rest is less than a quarter.
    assert_eq!(scene.run(&["cert", "new", "--secrets", &scene.secrets, "--ttl", "15m"]).await.code, 0);
    let ended = scene.run(&["version"]).await;
    assert!(ended.code == 0 && ended.err.contains("apictl cert renew"), "{}: {}", ended.code, ended.err);
    let before = shown(&scene, &["cert", "show"]).await;
    let ended = scene.run(&["cert", "renew"]).await;
    assert!(ended.code == 0 && !ended.err.contains("WARNING"), "{}: {}", ended.code, ended.err);
    let after = shown(&scene, &["cert", "show"]).await;
    assert_ne!(before[0]["fingerprint"], after[0]["fingerprint"]);
    let ended = scene.run(&["version"]).await;
    assert!(ended.code == 0 && !ended.err.contains("WARNING"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_an_authority_is_given_its_certificate() {
    let scene = Scene::prepared().await;
    std::fs::remove_file(scene.folder.join("authority.yaml")).unwrap();
    let ended = scene.apply(&["--secrets", &scene.secrets]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let year = |pem: &str| Certificate::parse(pem).unwrap().lifetime().as_secs() / 86400;
    let first = scene.node.node.state.lock().unwrap().configured.chain.clone();
    assert_eq!(year(&first), 365);
    let ended = scene.run(&["cert", "renew", "--node", "--secrets", &scene.secrets]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let second = scene.node.node.state.lock().unwrap().configured.installed[0].clone();
    assert!(first != second && year(&second) == 365);
    assert_eq!(scene.run(&["version"]).await.code, 0);
    let ended = scene.run(&["cert", "renew"]).await;
    assert!(ended.code == 4 && ended.err.contains("no Authority"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_stands_in_the_document() {
    let scene = Scene::configured().await;
    let print = "ab".repeat(32);
    let ended = scene.run(&["cert", "revoke", &print, "--message", "lost"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    {
        let state = scene.node.node.state.lock().unwrap();
        let sent = state.configured.revisions.last().unwrap();
        assert!(sent.documents.contains(&print) && sent.message == "lost");
    }
    let ended = scene.run(&["cert", "revoke", &print]).await;
    assert!(ended.code == 0 && ended.err.contains("like that already"), "{}: {}", ended.code, ended.err);
    let own = shown(&scene, &["cert", "show"]).await[0]["fingerprint"].as_str().unwrap().to_owned();
    let ended = scene.run(&["cert", "revoke", &own]).await;
    assert!(ended.code == 2 && ended.err.contains("lock you out"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_replaced_with_no_moment_without_access() {
    let scene = Scene::configured().await;
    let old = ca(&scene, "api-ca").unwrap();
    let rotate = ["cert", "rotate-ca", "--secrets", &scene.secrets];
    let ended = scene.run(&[&rotate[..], &["--dry-run"]].concat()).await;
    assert!(ended.code == 0 && ended.err.contains("accept both, sign with the new one"), "{}", ended.err);
    assert_eq!(scene.node.node.state.lock().unwrap().configured.revisions.len(), 1);
    let ended = scene.run(&[&rotate[..], &["--overlap"]].concat()).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let next = ca(&scene, "api-ca-next").unwrap();
    assert_eq!(scene.run(&["version"]).await.code, 0);
    // The second run finds what the first has done.
    let ended = scene.run(&rotate).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    {
        let state = scene.node.node.state.lock().unwrap();
        let chain = Certificate::parse(&state.configured.chain).unwrap();
        assert!(chain.is_signed_by(next.certificate()) && !chain.is_signed_by(old.certificate()));
        let last = &state.configured.revisions.last().unwrap().documents;
        assert!(!last.contains(&old.certificate().pem()[40..80]), "{last}");
        assert_eq!(state.configured.revisions.len(), 4, "accept, sign, drop");
    }
    assert_eq!(ca(&scene, "api-ca").unwrap().certificate(), next.certificate());
    assert!(ca(&scene, "api-ca-next").is_none());
    let all = shown(&scene, &["cert", "show"]).await;
    assert_eq!(all.as_array().unwrap().len(), 2, "one of the client, one authority: {all}");
    assert_eq!(scene.run(&["version"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_pages_are_written() {
    let operator = Operator::new();
    let folder = operator.config().join("man").display().to_string();
    assert_eq!(operator.run(&["man", "-o", &folder]).await.code, 0);
    let page = std::fs::read_to_string(format!("{folder}/apictl-apply-config.1")).unwrap();
    assert!(page.contains("confirm") && page.contains("Example"), "{page}");
    assert_eq!(operator.run(&["man"]).await.code, 2);
}
