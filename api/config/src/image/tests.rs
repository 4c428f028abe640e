use super::pull::{Check, Line, Progress, Refusal, Request, Step};
use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn references() {
    for (text, host, repository, tag) in [
        ("r.example/stele", "r.example", "stele", None),
        ("r.example:5000/a/b-c/stele_x:1.0-rc", "r.example:5000", "a/b-c/stele_x", Some("1.0-rc")),
        ("registry:5000/s", "registry:5000", "s", None),
        ("localhost/s:x", "localhost", "s", Some("x")),
        ("10.0.2.2:5000/s", "10.0.2.2:5000", "s", None),
        ("[fd00::1]:5000/s", "[fd00::1]:5000", "s", None),
        ("[fd00::1]/s", "[fd00::1]", "s", None),
    ] {
        let wanted = Place::Registry { host: host.to_owned(), repository: repository.to_owned() };
        for (text, digest) in [(text.to_owned(), None), (format!("{text}@sha256:{HEX}"), Digest::of_hex(HEX))] {
            let read: Reference = text.parse().unwrap();
            assert_eq!((&read.place, read.tag.as_deref(), &read.digest), (&wanted, tag, &digest));
            assert_eq!(read.to_string(), text);
        }
    }
    let layout: Reference = format!("oci:/mnt/a:b/stele.oci:1.0@sha256:{HEX}").parse().unwrap();
    assert_eq!(layout.place, Place::Layout { path: "/mnt/a:b/stele.oci".to_owned() });
    assert_eq!(layout.wanted(), format!("sha256:{HEX}"));
    assert_eq!("oci:/a".parse::<Reference>().unwrap().wanted(), "latest");
    for wrong in [
        "",
        "stele",
        "stele:1.0",
        "library/stele",
        "r.example/",
        "r.example/A",
        "r.example/a//b",
        "r.example/../b",
        "r.example/a:",
        "r.example/a:.x",
        "r.example/a@sha256:12",
        "r.example/a@sha512:00",
        "https://r.example/a",
        "r.example:0/a",
        "r.example:65536/a",
        "r.example:+1/a",
        "-r.example/a",
        "[]/a",
        "[::1/a",
        "u@r.example/a",
        "oci:rel",
        "oci:",
        "r.example/a b",
    ] {
        assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
    }
    assert!(format!("r.example/a@sha256:{}", HEX.to_uppercase()).parse::<Reference>().is_err());
}

#[test]
fn the_words_of_a_pull_are_stable() {
    let request: Request = serde_json::from_str(
        r#"{"image":"r.example/stele:1.0","endpoints":[{"url":"https://m.example/p","ca":["x"],
            "auth":{"login":{"user":"u","password":"secret-word"}},"proxy":{"url":"http://p.example:3128"}}],
            "verify":"require","keys":[{"name":"k","pem":"x"}],"limits":{"bytes":1,"seconds":2},
            "node":{"architecture":"amd64","version":"0.1.0","formats":{"meta":1}},"folder":"/f"}"#,
    )
    .unwrap();
    assert_eq!(request.limits.stall, 30);
    assert!(!format!("{request:?}").contains("secret-word"));
    let again = serde_json::to_string(&request).unwrap();
    assert!(again.contains("secret-word") && serde_json::from_str::<Request>(&again).is_ok());
    assert!(serde_json::from_str::<Request>(&again.replacen('{', "{\"x\":1,", 1)).is_err());
    let refused = Refusal { check: Check::Floor, message: "m".into(), remedy: "r".into(), again: false };
    for (line, wanted) in [
        (Line::Refused(refused), r#"{"refused":{"check":"floor","message":"m","remedy":"r","again":false}}"#),
        (
            Line::Progress(Progress { step: Step::Fetch, part: Some("uki".into()), done: 1, total: 2 }),
            r#"{"progress":{"step":"fetch","part":"uki","done":1,"total":2}}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&line).unwrap(), wanted);
    }
}
