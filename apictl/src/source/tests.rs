//! What is sent, and how problems look.

use super::*;

const HOSTNAME: &str = "apiVersion: stele/v1\nkind: Hostname\nhostname: web-1\n";
const SECRETS: &str = "apiVersion: stele/v1\nkind: Secrets\nsecrets:\n  a: { key: hunter2 }\n";
const SYSCTL: &str = "# more\napiVersion: stele/v1\nkind: Sysctl\nname: a\nsettings: { vm.swappiness: \"1\" }\n";

fn file(name: &str, text: &str) -> File {
    File { name: name.into(), text: text.into() }
}

#[test]
fn secrets_stay_behind_and_comments_go_along() {
    let both = format!("{HOSTNAME}---\n{SECRETS}--- # next\n{SYSCTL}");
    let source = Source::of(vec![file("a.yaml", &both)]).unwrap();
    assert_eq!(source.text, format!("{HOSTNAME}--- # next\n{SYSCTL}"));
    assert!(source.secrets.as_ref().unwrap().get("a").is_some());
    assert!(!format!("{source:?}").contains("hunter2"));
}

#[test]
fn files_become_one_stream() {
    let source = Source::of(vec![file("a.yaml", HOSTNAME.trim_end()), file("s.yaml", SECRETS), file("b.yaml", SYSCTL)]);
    let source = source.unwrap();
    assert_eq!(source.documents.len(), 2);
    // What a node says of a line is shown at the file's own.
    let line = u64::try_from(source.text.lines().position(|line| line == "name: a").unwrap()).unwrap() + 1;
    let problem = api::v1::Problem { line, column: 7, path: "name".into(), message: "no".into(), document: 2 };
    let failure = source.failures(vec![problem]);
    assert_eq!(failure.message, "name: no\n --> b.yaml:4:7\n  |\n4 | name: a\n  |       ^");
}

#[test]
fn problems_are_shown_with_their_lines_and_never_a_secret() {
    let wrong = format!("{}---\n{SECRETS}  b: {{ kye: hunter2 }}\n", HOSTNAME.replace("web-1", "web_1!"));
    let failure = Source::of(vec![file("a.yaml", &wrong)]).unwrap_err();
    assert!(
        failure.message.contains(" --> a.yaml:3:11\n  |\n3 | hostname: web_1!\n  |           ^"),
        "{}",
        failure.message
    );
    let others: Vec<_> = failure.others.iter().map(|failure| failure.message.as_str()).collect();
    assert!(others.iter().any(|told| told.contains("a.yaml:9:")), "{others:?}");
    assert!(!others.iter().any(|told| told.contains("hunter2")), "{others:?}");
    assert!(failure.others.last().unwrap().remedy.starts_with("2 problems"));
}

#[test]
fn a_folder_stands_for_its_yaml_files() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Source::load(&[folder.path().into()]).unwrap_err().message.contains("no file"));
    for (name, text) in [("b.yml", SYSCTL), ("a.yaml", HOSTNAME), (".c.yaml", "no"), ("d.txt", "no")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let source = Source::load(&[folder.path().into()]).unwrap();
    assert_eq!(source.text, format!("{HOSTNAME}---\n{SYSCTL}"));
}

fuzz::targets! {
    // Whatever is given: what is sent says the same, without the secrets.
    documents: |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let Ok(source) = Source::of(vec![File { name: "a".into(), text }]) else { return };
        let again = config::parse(&source.text).unwrap();
        assert!(again.documents == source.documents && again.secrets.is_none());
    },
}
