//! Who may import whom. Crates exist to enforce this, so the rule is checked and not only written down.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// For each crate of the workspace, the crates of the workspace it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("apictl", &["api", "config"]),
    ("boot", &[]),
    ("config", &[]),
    ("fixture", &["sys"]),
    ("fuzz", &[]),
    ("init", &["boot", "sys"]),
    ("installer", &["boot", "config", "sys"]),
    ("loader", &["boot"]),
    ("machined", &["api", "boot", "config", "reconcile", "sys"]),
    ("reconcile", &[]),
    ("sys", &[]),
    ("tests", &[]),
];

#[expect(clippy::disallowed_methods, reason = "cargo itself is asked")]
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(tests::artifacts::root())
        .output()
        .expect("running cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

#[test]
fn crates_import_only_what_the_design_allows() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--locked", "--no-deps"])).expect("JSON");
    let members: Vec<&str> =
        metadata["workspace_members"].as_array().expect("members").iter().filter_map(Value::as_str).collect();
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        if !members.contains(&package["id"].as_str().expect("id")) {
            continue;
        }
        let uses = package["dependencies"].as_array().expect("dependencies");
        // A dependency with a path is one of ours. Development dependencies may be wider.
        let ours = uses.iter().filter(|dependency| dependency["path"].is_string() && dependency["kind"].is_null());
        found.insert(
            package["name"].as_str().expect("name"),
            ours.filter_map(|dependency| dependency["name"].as_str()).collect(),
        );
    }
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), allowed.keys().collect::<Vec<_>>(), "crates of the workspace");
    for (name, uses) in found {
        for used in uses {
            assert!(allowed[name].contains(&used), "{name} uses {used}, which the design does not allow");
        }
    }
}

#[test]
fn one_tls_provider() {
    let used =
        cargo(&["tree", "--locked", "--workspace", "--prefix", "none", "--edges", "normal,build", "--no-dedupe"]);
    for banned in ["ring", "openssl-sys", "native-tls"] {
        let found = used.lines().any(|line| line.split_whitespace().next() == Some(banned));
        assert!(!found, "{banned} is compiled in; aws-lc-rs is the one TLS provider");
    }
    assert!(used.contains("aws-lc-rs"), "cargo tree no longer lists what is used");
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    // And in tests/fuzz, to call libFuzzer: nothing of it is in a program.
    for (name, folder) in [("machined", "machined/src"), ("init", "machined/init/src"), ("apictl", "apictl/src")] {
        let found = grep_allow(folder);
        assert!(found.is_empty(), "{name} allows unsafe code: {found:#?}");
    }
}

fn grep_allow(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![tests::artifacts::root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("reading the sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("reading a source file");
                let lines = text.lines().filter(|line| {
                    line.contains("unsafe_code") && (line.contains("allow(") || line.contains("expect("))
                });
                found.extend(lines.map(|line| format!("{}: {line}", path.display())));
            }
        }
    }
    found
}
