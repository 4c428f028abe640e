//! Who is asked, and by what it is recognised.

use super::*;
use crate::settings::Node;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn global() -> Global {
    Global::default()
}

fn lab() -> Settings {
    let node = |endpoint: &str, fingerprint: &str| Node {
        endpoint: endpoint.into(),
        fingerprint: Some(fingerprint.into()),
        ..Node::default()
    };
    let context = Context { nodes: vec![node("10.0.0.1:7", A), node("10.0.0.2", B)], ..Context::default() };
    Settings { current: Some("lab".into()), contexts: [("lab".to_owned(), context)].into() }
}

fn picked(global: &Global, environment: &Environment, settings: &Settings) -> Vec<(String, Pin)> {
    pick(global, environment, settings).unwrap().into_iter().map(|target| (target.name, target.pin)).collect()
}

fn exact(fingerprint: &str) -> Pin {
    Pin::Exact(vec![fingerprint.parse().unwrap()])
}

#[test]
fn the_current_context_is_the_default() {
    let all = picked(&global(), &Environment::default(), &lab());
    assert_eq!(all, [("10.0.0.1:7".to_owned(), exact(A)), ("10.0.0.2".to_owned(), exact(B))]);
}

#[test]
fn nodes_are_found_in_the_context() {
    let global = Global { nodes: vec!["10.0.0.1".into(), "10.0.0.2".into()], ..global() };
    let all = picked(&global, &Environment::default(), &lab());
    assert_eq!(all, [("10.0.0.1:7".to_owned(), exact(A)), ("10.0.0.2".to_owned(), exact(B))]);
}

#[test]
fn the_command_line_wins_over_the_environment_over_the_context() {
    let environment = Environment { endpoint: Some("e".into()), fingerprint: Some(B.into()), context: None };
    assert_eq!(picked(&global(), &environment, &lab()), [("e".to_owned(), exact(B))]);
    let given = Global { endpoints: vec!["g".into()], fingerprints: vec![A.parse().unwrap()], ..global() };
    assert_eq!(picked(&given, &environment, &lab()), [("g".to_owned(), exact(A))]);
    // A context that is named wins over an endpoint from the environment; its pins belong to its nodes.
    let named = Global { context: Some("lab".into()), ..global() };
    assert_eq!(picked(&named, &environment, &lab())[0], ("10.0.0.1:7".to_owned(), exact(A)));
}

#[test]
fn what_is_missing_is_said() {
    let none = pick(&global(), &Environment::default(), &Settings::default()).unwrap_err();
    for way in ["--endpoint", "APICTL_ENDPOINT", "apictl context add"] {
        assert!(none.remedy.contains(way), "{}", none.remedy);
    }
    let unpinned = Global { endpoints: vec!["x".into()], ..global() };
    let none = pick(&unpinned, &Environment::default(), &Settings::default()).unwrap_err();
    for way in ["stele: fingerprint", "--fingerprint", "--insecure"] {
        assert!(none.remedy.contains(way), "{}", none.remedy);
    }
    let unknown = Global { context: Some("x".into()), ..global() };
    assert_eq!(pick(&unknown, &Environment::default(), &lab()).unwrap_err().code, Code::NotFound);
}

#[test]
fn contradictions_are_refused() {
    let both = Global { nodes: vec!["a".into()], endpoints: vec!["b".into()], insecure: true, ..global() };
    assert!(pick(&both, &Environment::default(), &lab()).is_err());
    let both = Global { insecure: true, fingerprints: vec![A.parse().unwrap()], ..global() };
    assert!(pick(&both, &Environment::default(), &lab()).is_err());
}

#[test]
fn insecure_remembers_what_the_context_knows() {
    let insecure = Global { insecure: true, ..global() };
    let all = pick(&insecure, &Environment::default(), &lab()).unwrap();
    assert_eq!((&all[0].pin, all[0].known), (&Pin::FirstUse, Some(A.parse().unwrap())));
}
