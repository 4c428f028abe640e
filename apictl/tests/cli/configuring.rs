//! From a node in maintenance to one that is configured, and on from there.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use api::{
    pki::{Ca, Certificate, Client, Key},
    roles::Role,
    v1::{ApplyMode, Problem},
};

use crate::{Ended, Fake, Operator};

/// An operator with a bundle, documents and a context, and a node.
pub(crate) struct Scene {
    pub(crate) operator: Operator,
    pub(crate) node: Fake,
    pub(crate) secrets: String,
    pub(crate) folder: PathBuf,
}

impl Scene {
    /// As the manual says it.
    pub(crate) async fn prepared() -> Self {
        let (operator, node) = (Operator::new(), Fake::start().await);
        let secrets = operator.config().join("secrets.yaml").display().to_string();
        let folder = operator.config().join("web-1");
        let ended = operator.run(&["gen", "secrets", "-o", &secrets]).await;
        assert_eq!(ended.code, 0, "{}", ended.err);
        let scene = Self { operator, node, secrets, folder };
        let (endpoint, place) = (scene.node.address.to_string(), scene.folder.display().to_string());
        let pin = scene.node.fingerprint.clone();
        let made = ["gen", "config", "--secrets", &scene.secrets, "-e", &endpoint, "--fingerprint", &pin];
        let ended = scene.operator.run(&[&made[..], &["--hostname", "web-1", "-o", &place]].concat()).await;
        assert_eq!(ended.code, 0, "{}", ended.err);
        scene
    }

    pub(crate) async fn configured() -> Self {
        let scene = Self::prepared().await;
        let ended = scene.apply(&["--secrets", &scene.secrets]).await;
        assert_eq!(ended.code, 0, "{}", ended.err);
        scene
    }

    pub(crate) async fn apply(&self, more: &[&str]) -> Ended {
        let folder = self.folder.display().to_string();
        self.operator.run(&[&["apply-config", "-f", &folder], more].concat()).await
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        self.operator.run(arguments).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configuration_switches_to_mutual_tls() {
    let scene = Scene::configured().await;
    {
        let state = scene.node.node.state.lock().unwrap();
        let apply = &state.configured.revisions[0];
        assert!(apply.secrets.contains("api-ca:") && !apply.secrets.contains("rescue-ca"), "just the named ones");
        assert!(apply.documents.contains("# ") && !apply.documents.contains("PRIVATE"));
        let certificate = Certificate::parse(&apply.node_certificate).unwrap();
        assert!(certificate.server && certificate.is_of(&state.configured.key));
        assert_eq!(certificate.names, ["stele-1", "127.0.0.1", "web-1"]);
        assert_eq!(certificate.lifetime(), Duration::from_secs(25 * 3600), "with an Authority it is a day");
    }
    let ended = scene.run(&["version", "-o", "json"]).await;
    assert_eq!(ended.code, 0, "by authority and with a certificate: {}", ended.err);
    let shown = scene.run(&["context", "show"]).await.out;
    assert!(!shown.contains("PRIVATE") && shown.contains("stele:admin"), "{shown}");
    let stranger = Operator::new();
    let ended = stranger.run(&["version", "-e", &scene.node.address.to_string(), "--insecure"]).await;
    assert!(ended.code == 4 && ended.err.contains("without a client certificate"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_looked_for_on_the_new_path() {
    let scene = Scene::prepared().await;
    scene.node.node.change(|state| state.configured.loses_answer = true);
    let arguments = ["--secrets", &scene.secrets, "-o", "json"];
    let cut = async {
        let mut changed = scene.node.node.changed.subscribe();
        while scene.node.node.state.lock().unwrap().configured.status["state"] == "unconfigured" {
            changed.changed().await.unwrap();
        }
        scene.node.cut();
    };
    let (ended, ()) = tokio::join!(scene.apply(&arguments), cut);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("looking what it has"), "{}", ended.err);
    let told: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(told["revision"], 1);
    assert_eq!(scene.run(&["version"]).await.code, 0);
    assert_eq!(scene.node.node.state.lock().unwrap().configured.revisions.len(), 1, "it was not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gave_up_waiting_for_the_answer_still_reaches_the_node() {
    let scene = Scene::prepared().await;
    let context = || std::fs::read_to_string(scene.operator.config().join("apictl/config.yaml")).unwrap();
    let before = context();
    assert_eq!(scene.apply(&["--secrets", &scene.secrets]).await.code, 0);
    // As if the operator had pressed Ctrl-C: the context still has the fingerprint of maintenance.
    std::fs::write(scene.operator.config().join("apictl/config.yaml"), &before).unwrap();
    assert!(before.contains(&scene.node.fingerprint));
    let ended = scene.run(&["config", "history"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    // A node that is neither is still another one.
    let other = Fake::start().await;
    let moved = before.replace(&scene.node.address.to_string(), &other.address.to_string());
    std::fs::write(scene.operator.config().join("apictl/config.yaml"), moved).unwrap();
    let ended = scene.run(&["version"]).await;
    assert!(ended.code != 0 && ended.err.contains(&other.fingerprint), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_cannot_be_taken_out_are_not_sent() {
    let scene = Scene::prepared().await;
    let bundle = std::fs::read_to_string(&scene.secrets).unwrap();
    let quoted = bundle.replace("kind: Secrets", "\"kind\" : Secrets");
    assert_ne!(bundle, quoted);
    std::fs::write(scene.folder.join("secrets.yaml"), quoted).unwrap();
    let ended = scene.apply(&[]).await;
    assert!(ended.code == 2 && ended.err.contains("kind: Secrets"), "{}: {}", ended.code, ended.err);
    assert!(scene.node.node.state.lock().unwrap().configured.revisions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_of_fingerprints_learns_the_authority() {
    let scene = Scene::prepared().await;
    let (operator, endpoint) = (Operator::new(), scene.node.address.to_string());
    let add = ["context", "add", "lab", "-e", &endpoint, "--fingerprint", &scene.node.fingerprint];
    assert_eq!(operator.run(&add).await.code, 0);
    let folder = scene.folder.display().to_string();
    let ended = operator.run(&["apply-config", "-f", &folder, "--secrets", &scene.secrets, "-o", "json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let told: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&told["revision"], &told["effect"]), (&1.into(), &"live".into()));
    assert_eq!(operator.run(&["version"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_documents_are_shown_with_their_lines_and_not_sent() {
    let scene = Scene::prepared().await;
    let path = scene.folder.join("hostname.yaml");
    std::fs::write(&path, "apiVersion: stele/v1\nkind: Hostname\nhostnam: web-1\n").unwrap();
    let ended = scene.apply(&["--secrets", &scene.secrets]).await;
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("hostname.yaml:3:1") && ended.err.contains("3 | hostnam: web-1"), "{}", ended.err);
    assert!(scene.node.node.state.lock().unwrap().configured.revisions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_that_the_node_finds_are_shown_here() {
    let scene = Scene::prepared().await;
    let problem = Problem { document: 3, line: 46, column: 1, path: "hostname".into(), message: "taken".into() };
    scene.node.node.change(|state| state.configured.problems = vec![problem]);
    let ended = scene.apply(&["--secrets", &scene.secrets]).await;
    assert!(ended.code == 2 && ended.err.contains("hostname: taken"), "{}: {}", ended.code, ended.err);
    assert!(ended.err.contains(".yaml:"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_go_to_no_node_that_was_not_verified() {
    let scene = Scene::prepared().await;
    let ended = scene.apply(&["--secrets", &scene.secrets, "--insecure"]).await;
    assert!(ended.code == 2 && ended.err.contains("not verified"), "{}: {}", ended.code, ended.err);
    let ended = scene.apply(&[]).await;
    assert!(ended.code == 2 && ended.err.contains("--secrets FILE"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing() {
    let scene = Scene::prepared().await;
    let ended = scene.apply(&["--secrets", &scene.secrets, "--dry-run"]).await;
    assert!(ended.code == 0 && ended.out.contains("Hostname"), "{}: {}", ended.out, ended.err);
    assert!(scene.node.node.state.lock().unwrap().configured.revisions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_is_confirmed_on_a_new_connection() {
    let scene = Scene::configured().await;
    let ended = scene.apply(&["--mode", "trial"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let state = scene.node.node.state.lock().unwrap();
    let now = &state.configured;
    assert_eq!((now.revisions[1].mode(), now.revisions[1].confirm_within_s), (ApplyMode::Trial, 120));
    assert!(now.revisions[1].secrets.is_empty(), "the node keeps those it has");
    // one to ask, one to watch, one to confirm
    assert_eq!(now.confirmed_at, Some(now.connections));
    assert!(ended.err.contains("reached anew: confirmed"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_is_left_alone_says_how_to_confirm_it() {
    let scene = Scene::configured().await;
    let ended = scene.apply(&["--confirm-within", "5m", "--no-confirm"]).await;
    assert!(ended.code == 0 && ended.err.contains("apictl config confirm"), "{}: {}", ended.code, ended.err);
    assert_eq!(scene.node.node.state.lock().unwrap().configured.confirmed_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_given_up_is_a_failure() {
    let scene = Scene::configured().await;
    scene.node.node.change(|state| state.configured.gives_up = true);
    let ended = scene.apply(&["--mode", "trial"]).await;
    assert!(ended.code == 1 && ended.err.contains("was given up"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_lock_the_operator_out_are_refused() {
    let scene = Scene::configured().await;
    let other = Ca::make("other").unwrap().certificate().pem().replace('\n', "\n    ");
    let text = format!("apiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n    {other}\n");
    std::fs::write(scene.folder.join("api.yaml"), text).unwrap();
    let ended = scene.apply(&[]).await;
    assert!(ended.code == 2 && ended.err.contains("lock you out"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_client_is_told_how_to_get_in() {
    let scene = Scene::configured().await;
    let stream = config::parse(&std::fs::read_to_string(&scene.secrets).unwrap()).unwrap();
    let secret = stream.secrets.as_ref().unwrap().get("api-ca").unwrap();
    let ca = Ca::load(secret.certificate.as_ref().unwrap(), secret.key.as_ref().unwrap().as_str()).unwrap();
    let key = Key::make().unwrap();
    let client = Client { common_name: "old".into(), role: Role::Admin, ttl: Duration::from_secs(3600) };
    let past = std::time::SystemTime::now() - Duration::from_secs(7200);
    let old = ca.sign_client_at(&key.request("old", &[]).unwrap(), &client, past).unwrap();
    let path = scene.operator.config().join("old.pem");
    std::fs::write(&path, format!("{}{}", old.pem(), &*key.pem())).unwrap();
    let path = path.display().to_string();
    let ended = scene.run(&["version", "--client-cert", &path]).await;
    assert!(ended.code == 2 && ended.err.contains("chmod 600"), "others can read it: {}", ended.err);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ended = scene.run(&["version", "--client-cert", &path]).await;
    assert_eq!(ended.code, 4, "{}", ended.err);
    for expected in ["is over since", "apictl cert new --secrets", "--rescue"] {
        assert!(ended.err.contains(expected), "{expected}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_name_or_authority_is_refused() {
    let scene = Scene::configured().await;
    let ended = scene.run(&["version", "--server-name", "web-9"]).await;
    assert!(ended.code == 8 && ended.err.contains("is not for web-9; it is for stele-1"), "{}", ended.err);
    assert_eq!(scene.run(&["version", "--server-name", "stele-1"]).await.code, 0);
    let other = scene.operator.config().join("other.pem");
    std::fs::write(&other, Ca::make("Stele API").unwrap().certificate().pem()).unwrap();
    let ended = scene.run(&["version", "--ca", &other.display().to_string()]).await;
    assert!(ended.code == 8 && ended.err.contains("not signed by an authority"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_maintenance_is_not_taken_for_a_configured_one() {
    let scene = Scene::prepared().await;
    let show = scene.run(&["context", "show", "-o", "json"]).await.out;
    let name = serde_json::from_str::<serde_json::Value>(&show).unwrap()["name"].as_str().unwrap().to_owned();
    let file = scene.operator.config().join("apictl/config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let unpinned: String =
        text.lines().filter(|line| !line.contains("fingerprint:")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, unpinned).unwrap();
    let ended = scene.run(&["version", "--context", &name]).await;
    assert!(ended.code == 8 && ended.err.contains("by --fingerprint"), "{}: {}", ended.code, ended.err);
}

/// An editor that does this to its file.
fn editor(operator: &Operator, script: &str) -> String {
    let path = operator.config().join("editor.sh");
    std::fs::write(&path, script).unwrap();
    format!("sh {}", path.display())
}

async fn edit(scene: &Scene, script: &str) -> Ended {
    let mut command = scene.operator.command(&["edit"]);
    command.env("VISUAL", editor(&scene.operator, script)).env("TMPDIR", scene.operator.config());
    crate::end(command.spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_keeps_comments_and_says_what_it_was_made_from() {
    let scene = Scene::configured().await;
    let ended = edit(&scene, "sed -i 's/^hostname: .*/hostname: web-2 # mine/' \"$1\"").await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let state = scene.node.node.state.lock().unwrap();
    let sent = &state.configured.revisions[1];
    let before = &state.configured.revisions[0].documents;
    assert_eq!(sent.documents, before.replace("hostname: web-1", "hostname: web-2 # mine"));
    assert_eq!(sent.expected_revision, 1);
    let left: Vec<_> = std::fs::read_dir(scene.operator.config()).unwrap().flatten().collect();
    assert!(!left.iter().any(|file| file.file_name().to_string_lossy().starts_with("apictl-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_changes_nothing_sends_nothing() {
    let scene = Scene::configured().await;
    let ended = edit(&scene, "true").await;
    assert!(ended.code == 0 && ended.err.contains("nothing was sent"), "{}: {}", ended.code, ended.err);
    let ended = edit(&scene, "false").await;
    assert!(ended.code == 1 && ended.err.contains("nothing was sent"), "{}: {}", ended.code, ended.err);
    assert_eq!(scene.node.node.state.lock().unwrap().configured.revisions.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_wrong_is_opened_again_with_the_problems() {
    let scene = Scene::configured().await;
    // The first time it breaks a field, the second time it reads what is said of it and mends it.
    let script = "if grep -q '^#:.*hostnam' \"$1\"; then sed -i 's/^hostnam: .*/hostname: web-3/' \"$1\"; \
                  else sed -i 's/^hostname:/hostnam:/' \"$1\"; fi";
    let ended = edit(&scene, script).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let sent = scene.node.node.state.lock().unwrap().configured.revisions[1].documents.clone();
    assert!(sent.contains("hostname: web-3") && !sent.contains("#:"), "{sent}");
    let ended = edit(&scene, "sed -i 's/^hostname:/hostnam:/' \"$1\"").await;
    assert!(ended.code == 2 && ended.err.contains("what you wrote is in"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_change_what_the_node_has() {
    let scene = Scene::configured().await;
    let merge = "{apiVersion: stele/v1, kind: Hostname, hostname: web-2}";
    let ended = scene.run(&["patch", "-p", merge]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let ended = scene.run(&["patch", "-p", merge]).await;
    assert!(ended.code == 0 && ended.err.contains("like that already"), "{}: {}", ended.code, ended.err);
    let operation = "[{op: replace, path: /hostname, value: web-3}]";
    let ended = scene.run(&["patch", "-d", "Hostname", "-p", operation, "--message", "again"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    {
        let state = scene.node.node.state.lock().unwrap();
        let sent = &state.configured.revisions;
        assert_eq!((sent.len(), sent[1].expected_revision, sent[2].expected_revision), (3, 1, 2));
        assert!(sent[2].documents.contains("hostname: web-3") && sent[2].documents.contains("# What the machine"));
    }
    let ended = scene.run(&["patch", "-p", "{apiVersion: stele/v1, kind: Hostname, hostnam: web-2}"]).await;
    assert!(ended.code == 2 && ended.err.contains("<patched>"), "{}: {}", ended.code, ended.err);
    let ended = scene.run(&["config", "history", "-o", "json"]).await;
    let history: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&history[0]["message"], &history[0]["current"]), (&"again".into(), &true.into()));
    let diff = scene.run(&["config", "diff"]).await.out;
    assert!(diff.contains("-hostname: web-2") && diff.contains("+hostname: web-3"), "{diff}");
    let diff = scene.run(&["config", "diff", "-f", &scene.folder.display().to_string()]).await.out;
    assert!(diff.contains("-hostname: web-3") && diff.contains("+hostname: web-1"), "{diff}");
    assert!(scene.run(&["config", "get"]).await.out.contains("hostname: web-3\n"));
    // It makes no revision, so nothing could keep the message.
    let ended = scene.run(&["config", "revert", "--message", "too early"]).await;
    assert!(ended.code == 2 && ended.err.contains("--message"), "{}: {}", ended.code, ended.err);
    let ended = scene.run(&["config", "revert"]).await;
    assert!(ended.code == 0 && ended.err.contains("revision 1 is in effect"), "{}: {}", ended.code, ended.err);
    assert_eq!(scene.run(&["config", "get", "9"]).await.code, 5);
    let ended = scene.run(&["config", "get", "Hostname"]).await;
    assert!(ended.out.contains("hostname: web-1\n") && !ended.out.contains("kind: Api"), "{}{}", ended.out, ended.err);
    let ended = scene.run(&["config", "get", "Link/eth9"]).await;
    assert!(ended.code == 5 && ended.err.contains("there is no document Link/eth9"), "{}: {}", ended.code, ended.err);
    let ended = scene.run(&["config", "confirm"]).await;
    assert!(ended.code == 4 && ended.err.contains("nothing is on trial"), "{}: {}", ended.code, ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_may_lie_in_several_files() {
    let scene = Scene::configured().await;
    let changes = scene.operator.config().join("changes");
    std::fs::create_dir(&changes).unwrap();
    // The first has no end of line, as some editors leave it.
    std::fs::write(changes.join("a.yaml"), "apiVersion: stele/v1\nkind: Hostname\nhostname: web-4").unwrap();
    let host = "{apiVersion: stele/v1, kind: StaticHost, name: b, addresses: [192.0.2.1]}\n";
    std::fs::write(changes.join("b.yml"), host).unwrap();
    let ended = scene.run(&["patch", "-f", &changes.display().to_string()]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let sent = scene.node.node.state.lock().unwrap().configured.revisions[1].documents.clone();
    assert!(sent.contains("hostname: web-4") && sent.contains("kind: StaticHost"), "{sent}");
}

/// What is in an archive, by its path below the node's folder.
fn unpacked(place: &std::path::Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(place).unwrap()));
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let text = std::io::read_to_string(&mut entry).unwrap();
        found.insert(path.splitn(3, '/').nth(2).unwrap().to_owned(), text);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn support_has_what_is_not_in_effect_and_the_last_of_the_audit() {
    let scene = Scene::configured().await;
    let staged = "{apiVersion: stele/v1, kind: Hostname, hostname: web-9}";
    assert_eq!(scene.run(&["patch", "-p", staged, "--mode", "staged"]).await.code, 0);
    scene.node.node.record(1200);
    let place = scene.operator.config().join("a.tar.gz");
    let ended = scene.run(&["support", "-o", &place.display().to_string()]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let found = unpacked(&place);
    assert!(found["config/revisions/1.yaml"].contains("hostname: web-1"), "{found:?}");
    assert!(found["config/revisions/2.yaml"].contains("hostname: web-9"), "{found:?}");
    let audit: serde_json::Value = serde_json::from_str(&found["audit.json"]).unwrap();
    let numbers = (audit.as_array().unwrap().len(), &audit[0]["sequence"], &audit[999]["sequence"]);
    assert_eq!(numbers, (1000, &201.into(), &1200.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_somebody_else_is_not_overwritten() {
    let scene = Scene::configured().await;
    let script = "sed -i 's/^hostname: .*/hostname: web-2/' \"$1\"";
    let text = std::fs::read_to_string(scene.folder.join("hostname.yaml")).unwrap().replace("web-1", "web-9");
    std::fs::write(scene.folder.join("hostname.yaml"), text).unwrap();
    let other = format!("{} apply-config -f {} >/dev/null 2>&1", env!("CARGO_BIN_EXE_apictl"), scene.folder.display());
    let ended = edit(&scene, &format!("{script}; {other}")).await;
    assert!(ended.code == 4 && ended.err.contains("revision 2 is the current one"), "{}: {}", ended.code, ended.err);
    assert!(ended.err.contains("what you wrote is in"), "{}", ended.err);
}
