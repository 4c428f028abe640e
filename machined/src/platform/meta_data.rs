//! meta-data of NoCloud: YAML or JSON, of which three keys count here. Pure; any text is fine.
//!
//! Tools write much more into it, for other systems; that is left out, but not what would say how the network is.

use std::collections::BTreeMap;

use config::{Check, Problems};
use serde_json::Value;

/// What counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MetaData {
    /// What the platform calls this machine.
    pub(super) instance_id: Option<String>,
    /// What the machine is to be called.
    pub(super) hostname: Option<String>,
    /// Where the files are in fact.
    pub(super) seed_from: Option<String>,
}

/// Parses the file.
pub(super) fn parse(text: &str) -> Result<MetaData, Problems> {
    config::yaml::convert(text, turn).map(Option::unwrap_or_default)
}

fn turn(mut keys: BTreeMap<String, Value>, check: &mut Check<'_>) -> MetaData {
    if keys.contains_key("network-interfaces") {
        let message = "the form of /etc/network/interfaces is not read: write a network-config in its place";
        check.problem("network-interfaces", message);
    }
    let mut text = |key: &str| match keys.remove(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        None | Some(Value::Null) => None,
        Some(_) => {
            check.problem(key, "expected a text");
            None
        }
    };
    let instance_id = text("instance-id");
    let hostname = text("local-hostname").or_else(|| text("hostname"));
    MetaData { instance_id, hostname, seed_from: text("seedfrom") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_with_more_than_we_want() {
        let wanted = MetaData {
            instance_id: Some("i-7".into()),
            hostname: Some("node".into()),
            seed_from: Some("http://192.0.2.1/".into()),
        };
        let yaml =
            "instance-id: i-7\nlocal-hostname: node\nseedfrom: http://192.0.2.1/\npublic-keys: [a]\ndsmode: net\n";
        let json = r#"{"instance-id": "i-7", "local-hostname": "node", "seedfrom": "http://192.0.2.1/"}"#;
        for text in [yaml, json] {
            assert_eq!(parse(text).unwrap(), wanted);
        }
        assert_eq!(parse("").unwrap(), MetaData::default());
        assert_eq!(parse("instance-id: 7\n").unwrap().instance_id.as_deref(), Some("7"));
    }

    #[test]
    fn what_would_be_lost_is_refused_with_its_line() {
        for (text, wanted) in [
            ("a: 1\nlocal-hostname: [x]\n", "line 2"),
            ("network-interfaces: |\n  auto eth0\n", "network-config"),
            ("- a\n", "line 1"),
            ("a: [\n", "line"),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}");
        }
    }

    fuzz::targets! {
        meta_data: |bytes| drop(parse(&String::from_utf8_lossy(bytes))),
    }
}
