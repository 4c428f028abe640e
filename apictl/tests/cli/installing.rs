//! Installs: the disk is chosen by the node, the choice is shown, the job is followed to its end.

use serde_json::{Value, json};

use crate::{Fake, Operator};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_every_disk_and_its_exit_code_tells() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let ask = |wipe: bool, more: &[&'static str]| {
        let words = [&["install", "--disk", "serial=b,size>=100G", "--dry-run"], more].concat();
        [words, if wipe { vec!["--wipe"] } else { vec![] }].concat()
    };
    let refused = operator.ask(&node, &ask(false, &[])).await;
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("vdb holds luks") && refused.err.contains("give --wipe"), "{}", refused.err);
    let lines: Vec<&str> = refused.out.lines().collect();
    assert!(
        lines[0].starts_with("DISK") && lines[1].contains("serial is not b") && lines[2].contains("luks"),
        "{lines:?}"
    );

    let chosen = operator.ask(&node, &ask(true, &["-o", "json"])).await;
    assert_eq!(chosen.code, 0, "{}", chosen.err);
    let value: Value = serde_json::from_str(&chosen.out).unwrap();
    assert_eq!((&value["chosen"], &value["disks"][0]["whyNot"]), (&json!("vdb"), &json!("serial is not b")));
    let asked = node.node.state.lock().unwrap().asked.clone();
    assert_eq!(asked[0], "install: size=100GiB..,serial=b  false true");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_is_followed_to_its_end() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    let value = json!({ "kind": "install", "phase": "done", "step": "firmware", "reason": "it is on vdb" });
    node.node.change(|state| state.put("7", &value.to_string()));
    let words = ["install", "--disk", "serial=b", "--image", "r.example/stele:1", "-o", "json"];
    let ended = operator.ask(&node, &words).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&value["job"], &value["outcome"]), (&json!(7), &json!("it is on vdb")));
    let asked = node.node.state.lock().unwrap().asked.clone();
    assert_eq!(asked, ["install: serial=b r.example/stele:1 false false"]);
    assert_eq!(operator.ask(&node, &["install", "--disk", "serial=b", "--no-wait"]).await.code, 0);
    let odd = operator.ask(&node, &["install", "--disk", "/dev/vda"]).await;
    assert!(odd.code == 2 && odd.err.contains("change between boots"), "{}: {}", odd.code, odd.err);
}
