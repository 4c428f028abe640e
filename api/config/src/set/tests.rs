//! Streams of documents: what is wrong, where, and all of it at once.

use std::time::Instant;

use crate::{Problems, complete, format, parse, parse_bytes, parse_files};

const HOST: &str = "apiVersion: stele/v1\nkind: Hostname\nhostname: web-1\n";

fn wrong(text: &str) -> Problems {
    parse(text).expect_err(text)
}

#[test]
fn too_many_documents_are_said_whether_in_one_file_or_in_many() {
    let file = |documents| "a: 1\n---\n".repeat(documents);
    let several = [("a".to_owned(), file(6_000)), ("b".to_owned(), file(4_001))];
    for problems in [wrong(&file(10_001)), parse_files(&several).unwrap_err()] {
        let [problem] = &problems.0[..] else { panic!("{problems}") };
        assert!(problem.message.contains("more than 10000 documents"), "{problem}");
    }
}

#[test]
fn everything_wrong_is_said_at_once_at_its_place() {
    let text = "\
apiVersion: stele/v1
kind: Hostname
hostname: -web
---
kind: Lnk
---
apiVersion: stele/v2
kind: Link
name: eth0
adresses: [192.0.2.5/24]
mtu: big
---
apiVersion: stele/v1
kind: Vlan
link: eth0
id: 4095
---
apiVersion: stele/v1
kind: Time
name: clock
servers: [300.1.1.1]
---
- 5
---
apiVersion: stele/v1
kind: Sysctl
name: kernel
settings: { net.ipv4.ip_forward: true }
";
    let found: Vec<_> = wrong(text).0.into_iter().map(|p| (p.document, p.path, p.line, p.column, p.message)).collect();
    let expected = [
        (1, "hostname", 3, 11, "expected a host name such as web-1"),
        (2, "", 5, 1, "the field apiVersion is missing: expected stele/v1"),
        (2, "kind", 5, 7, "there is no such kind: did you mean Link?"),
        (3, "apiVersion", 7, 13, "expected stele/v1"),
        (3, "adresses", 10, 1, "there is no such field: did you mean addresses?"),
        (3, "mtu", 11, 6, "expected a whole number from 0 to 4294967295"),
        (4, "", 13, 1, "the field name is missing"),
        (4, "id", 16, 5, "expected 1 to 4094"),
        (5, "name", 20, 7, "there is one Time only: it has no name"),
        (5, "servers[0]", 21, 11, "expected a name or an address"),
        (6, "", 23, 1, "expected fields"),
        (7, "settings.net.ipv4.ip_forward", 28, 34, "expected text or a whole number"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(
            (found.0, found.1.as_str(), found.2, found.3),
            (expected.0, expected.1, expected.2, expected.3),
            "{found:?}"
        );
        assert!(found.4.starts_with(expected.4), "{found:?}");
    }
}

#[test]
fn what_is_no_yaml_does_not_hide_the_others() {
    let text = format!("# ours\n---\n{HOST}---\na: [\n---\nkind: Bond\nname: b\n---\na: 1\na: 2\n");
    let lines: Vec<_> = wrong(&text).0.iter().map(|p| (p.document, p.line)).collect();
    assert!(lines.contains(&(2, 8)) || lines.contains(&(2, 7)), "{lines:?}");
    assert!(lines.contains(&(3, 9)), "{lines:?}");
    assert!(lines.contains(&(4, 13)), "{lines:?}");
}

#[test]
fn keys_that_are_there_twice_are_all_found() {
    let text = "apiVersion: stele/v1\nkind: Sysctl\nkind: Sysctl\nname: a\nsettings:\n  vm.x: 1\n  vm.x: 2\n";
    let problems = wrong(text);
    let found: Vec<_> = problems.0.iter().map(|p| (p.path.as_str(), p.line)).collect();
    assert_eq!(found, [("kind", 3), ("settings.vm.x", 7)], "{problems}");
    assert!(problems.to_string().contains("at line 6: keep one"), "{problems}");
}

#[test]
fn two_documents_for_one_thing_are_both_named() {
    let files = |a: &str, b: &str| {
        let files = [("a.yaml".to_owned(), a.to_owned()), ("b.yaml".to_owned(), b.to_owned())];
        parse_files(&files).unwrap_err().to_string()
    };
    let sysctl =
        |name: &str, key: &str| format!("apiVersion: stele/v1\nkind: Sysctl\nname: {name}\nsettings: {{ {key}: 1 }}\n");
    for (a, b, expected) in [
        (
            HOST.into(),
            HOST.into(),
            "b.yaml: line 2, column 7: kind: Hostname is there already, in a.yaml at line 1: keep one",
        ),
        (
            sysctl("a", "vm.x"),
            sysctl("a", "vm.y"),
            "b.yaml: line 3, column 7: name: Sysctl/a is there already, in a.yaml at line 1: keep one, or give one another name",
        ),
        (
            sysctl("a", "vm.x"),
            sysctl("b", "vm/x"),
            "b.yaml: line 3, column 7: name: Sysctl/b decides sysctl vm/x, and so does Sysctl/a, in a.yaml at line 1: keep one",
        ),
    ] {
        assert_eq!(files(&a, &b), expected);
    }
    let link = |name: &str, more: &str| format!("apiVersion: stele/v1\nkind: Link\nname: {name}\n{more}");
    let bond = "apiVersion: stele/v1\nkind: Bond\nname: eth0\nlinks: [eth1]\n";
    let clash = files(&link("eth0", ""), bond);
    assert!(clash.contains("Bond/eth0 decides link eth0, and so does Link/eth0, in a.yaml at line 1"), "{clash}");
    let clash = files(&link("eth0", "addresses: [192.0.2.1/24]\n"), &link("eth1", "addresses: [192.0.2.1/16]\n"));
    assert!(clash.contains("decides address 192.0.2.1, and so does Link/eth0"), "{clash}");
}

#[test]
fn links_are_not_made_of_themselves() {
    let vlan =
        |name: &str, link: &str| format!("apiVersion: stele/v1\nkind: Vlan\nname: {name}\nlink: {link}\nid: 5\n---\n");
    let bond = "apiVersion: stele/v1\nkind: Bond\nname: b\nlinks: [eth0, v1]\n---\n";
    parse(&format!("{}{}{}", vlan("v1", "eth1"), bond, vlan("v2", "b"))).unwrap();
    let problems = wrong(&format!("{}{}{}", vlan("v1", "b"), bond, vlan("v2", "b")));
    let circle = problems.0.iter().filter(|p| p.message.contains("leads back"));
    let found: Vec<_> = circle.map(|p| (p.document, p.path.as_str())).collect();
    assert_eq!(found, [(1, "link"), (2, "links")], "{problems}");
    let problems = wrong(&format!("{bond}apiVersion: stele/v1\nkind: Bond\nname: a\nlinks: [eth1, b]\n"));
    let found: Vec<_> = problems.0.iter().map(|p| (p.document, p.path.as_str())).collect();
    assert_eq!(found, [(2, "links[1]")], "{problems}");
    assert!(problems.to_string().contains("b is a bond"), "{problems}");
}

#[test]
fn files_from_every_editor_are_read() {
    let one = parse(HOST).unwrap();
    for text in [
        format!("\u{feff}{HOST}"),
        HOST.replace('\n', "\r\n"),
        format!("---\n{HOST}...\n"),
        format!("{HOST}---\n"),
        format!("# a\n\n---\n---\n{HOST}"),
    ] {
        assert_eq!(parse(&text).unwrap_or_else(|p| panic!("{text:?}: {p}")), one, "{text:?}");
    }
    assert_eq!(parse_bytes(HOST.as_bytes()).unwrap(), one);
    assert!(parse("").unwrap().documents.is_empty());
}

#[test]
fn what_is_no_text_says_where() {
    let mut bytes = HOST.as_bytes().to_vec();
    bytes[24] = 0xff;
    let problem = parse_bytes(&bytes).unwrap_err().0.remove(0);
    assert_eq!((problem.line, problem.column), (2, 4));
    let problems = wrong("apiVersion: stele/v1\nkind: Sysctl\nname: a\nsettings:\n\tvm.x: 1\n").to_string();
    assert!(problems.contains("line 5") && problems.contains("tab"), "{problems}");
}

#[test]
fn bombs_are_refused_soon() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (b, a) in ('b'..='i').zip('a'..) {
        bomb.push_str(&format!("{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"));
    }
    let began = Instant::now();
    for text in [
        bomb,
        "[".repeat(100_000),
        "a: ".repeat(100_000),
        "---\n".repeat(200_000),
        "- x\n".repeat(260_000),
        "x".repeat(2 << 20),
        "---\n{\n".repeat(100_000),
    ] {
        assert!(parse(&text).is_err(), "{}", &text[..20]);
    }
    // Many times what it takes, unoptimised on a busy machine.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[test]
fn secrets_come_apart_and_show_nothing() {
    let text = format!(
        "{HOST}---\napiVersion: stele/v1\nkind: Secrets\nsecrets:\n  api-ca: {{ certificate: c, key: hunter2 }}\n"
    );
    let stream = parse(&text).unwrap();
    assert!(!format!("{stream:?}").contains("hunter2") && !format(&stream.documents).contains("hunter2"));
    let secrets = stream.secrets.unwrap();
    assert_eq!(secrets.get("api-ca").unwrap().key.as_ref().unwrap().as_str(), "hunter2");
    assert_eq!(parse(&secrets.format()).unwrap().secrets.unwrap(), secrets);
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(secrets.named(&names(&["api-ca"])).unwrap(), secrets);
    assert_eq!(secrets.named(&names(&["api-ca", "other"])).unwrap_err(), ["other"]);
    let wrong = wrong(&text.replace("key: hunter2", "key: [hunter2]").replace("certificate", "hunter3"));
    assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
}

#[test]
fn a_machine_needs_somebody_who_may_get_in() {
    for (text, message) in [
        (HOST, "a document of kind Api is missing"),
        ("\napiVersion: stele/v1\nkind: Api\n", "line 2, column 0: document 1: accept: expected at least one"),
    ] {
        let problems = complete(&parse(text).unwrap().documents).unwrap_err().to_string();
        let message = message.replace(", column 0: document 1", "");
        assert!(problems.replace(", column 0", "").contains(&message), "{problems}");
    }
    let api = crate::kind::KINDS.iter().find(|entry| entry.kind == "Api").unwrap().examples[0];
    complete(&parse(api).unwrap().documents).unwrap();
}

/// Run in release for the figure.
#[test]
fn a_thousand_documents_are_soon_parsed() {
    let text: String = (0..1000)
        .map(|i| format!("---\napiVersion: stele/v1\nkind: Link\nname: l{i}\nmatch: {{ busPath: \"0000:00:{i}\" }}\naddresses: [10.{}.{}.5/24]\nroutes:\n- to: 172.16.{}.0/24\n  via: 10.0.0.1\n", i / 250, i % 250, i % 250))
        .collect();
    let began = Instant::now();
    let stream = parse(&text).unwrap();
    let parsed = began.elapsed();
    assert_eq!(stream.documents.len(), 1000);
    let text = format(&stream.documents);
    assert_eq!(parse(&text).unwrap(), stream);
    // A thousand that are wrong, too.
    let wrong = text.replace("addresses:", "adresses:");
    let problems = parse(&wrong).unwrap_err();
    assert!(problems.0[0].message.contains("did you mean addresses?") && problems.0.len() == 501, "{problems}");
    let found_wrong = began.elapsed();
    let changed = crate::changes(&stream.documents, &Default::default());
    assert_eq!(changed.len(), 1000);
    eprintln!("parsed in {parsed:?}, with all problems by {found_wrong:?}, all in {:?}", began.elapsed());
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

fuzz::targets! {
    documents: |bytes| match parse_bytes(bytes) {
        Ok(stream) => {
            let text = format(&stream.documents);
            assert_eq!(parse(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}")).documents, stream.documents);
            drop(complete(&stream.documents));
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let lines = bytes.split(|b| matches!(b, b'\n' | b'\r')).count() as u64;
            assert!(problems.0.iter().all(|problem| problem.line <= lines), "{problems}");
        }
    },
}
