//! The clock's battery is empty: it says 1970. The machine starts at the time its image was built.

use anyhow::{Context, Result, ensure};
use tests::{artifacts, machine, runner::Story, vm::Spec};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_clock_in_1970_is_set_to_when_the_image_was_built", story)]
}

fn story() -> Result<()> {
    let spec = Spec { rtc: "1970-01-01T00:00:10".into(), ..Spec::kernel(&artifacts::test_image()) };
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        // RFC 3339 in UTC sorts as text.
        let version = machine.apictl.json(&["version"])?;
        let built = find(&version, "built").with_context(|| format!("no build time: {version}"))?;
        let line: serde_json::Value =
            serde_json::from_str(&machine.apictl.ok(&["logs", "machined", "--tail", "1", "--output", "json"])?)?;
        let now = line["time"].as_str().unwrap_or_default().to_owned();
        ensure!(now.as_str() >= built.as_str(), "the machine's clock says {now}, its image was built at {built}");
        Ok(())
    })
}

/// The first text of that name, however deep.
fn find(value: &serde_json::Value, name: &str) -> Option<String> {
    match value {
        serde_json::Value::Object(fields) => match fields.get(name) {
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            _ => fields.values().find_map(|value| find(value, name)),
        },
        serde_json::Value::Array(all) => all.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}
