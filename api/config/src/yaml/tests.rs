//! All problems at once, at the right place, without a word of the source.

use crate::service;

const GOOD: &str = r#"
apiVersion: stele/v1
kind: Service
name: gateway
run: [/usr/bin/gateway]
user: 100
listen:
  - name: api
    tcp: "[::]:50000"
limits: { memory: 64MiB, pids: 16, files: 12000, cpuWeight: 100 }
ready: { notify: true, within: 20s }
restart: { when: always, backoff: 200ms..30s }
stop: { signal: TERM, within: 10s }
"#;

#[test]
fn a_good_file_is_read_and_round_trips() {
    let service = service::parse(GOOD).unwrap();
    assert_eq!(service.limits.memory.unwrap().0, 64 << 20);
    assert_eq!(service.listen[0].tcp.port(), 50000);
    let text = serde_saphyr::to_string(&service).unwrap();
    assert_eq!(service::parse(&text).unwrap(), service);
}

#[test]
fn every_problem_is_reported_at_its_place_and_none_quotes_the_source() {
    let text = r#"apiVersion: stele/v1
kind: Service
name: web
run: [/usr/bin/web]
usr: hunter2
user: hunter2
limits:
  memory: hunter2
  pids: 16
  swap: hunter2
restart: { when: hunter2 }
"#;
    let problems = service::parse(text).unwrap_err();
    let found: Vec<_> = problems.0.iter().map(|p| (p.path.as_str(), p.line, p.column)).collect();
    assert_eq!(
        found,
        [("usr", 5, 1), ("user", 6, 7), ("limits.memory", 8, 11), ("limits.swap", 10, 3), ("restart.when", 11, 18)],
        "{problems}"
    );
    let text = problems.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("something like 64MiB") && text.contains("expected a whole number from 0"), "{text}");
}

#[test]
fn a_duplicate_key_does_not_hide_the_others() {
    let problems = service::parse("name: a\nname: b\nkind: 5\n").unwrap_err();
    let found: Vec<_> = problems.0.iter().map(|p| (p.line, p.path.as_str())).collect();
    assert!(found.contains(&(2, "name")) && found.contains(&(3, "kind")), "{problems}");
}

#[test]
fn what_is_no_yaml_says_where() {
    for text in ["name: [a", "a: b: c", "- {", "\u{0}", "a: *nowhere"] {
        let problems = service::parse(text).unwrap_err();
        assert!(!problems.0.is_empty(), "{text:?}");
    }
    assert!(service::parse("").is_err());
    assert!(service::parse(&format!("{GOOD}---{GOOD}")).is_err());
}

#[test]
fn rules_between_fields_are_checked_all_at_once() {
    let text =
        GOOD.replace("stele/v1", "v2").replace("gateway", "machined").replace("/usr/bin/", "").replace("16,", "0,");
    let paths: Vec<_> = service::parse(&text).unwrap_err().0.into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["apiVersion", "name", "run", "limits.pids"]);
}

fuzz::targets! {
    service_file: |bytes| {
        let Ok(text) = str::from_utf8(bytes) else { return };
        match service::parse(text) {
            Ok(service) => {
                let again = serde_saphyr::to_string(&service).unwrap();
                assert_eq!(service::parse(&again).unwrap(), service, "{again}");
            }
            Err(problems) => {
                assert!(!problems.0.is_empty());
                // A carriage return ends a line of YAML, too.
                let lines = text.split(['\n', '\r']).count() as u64;
                assert!(problems.0.iter().all(|problem| problem.line <= lines), "{problems}");
            }
        }
    },
}
