//! Somebody watches the services while machined is killed: every change is seen, and nothing is told twice. Of disks and
//! links, which controllers find anew in each life, nothing is told to be gone.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::runner::Story;

use crate::shared::MACHINE;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_watch_sees_every_change_once_though_machined_is_killed", story)]
}

fn story() -> Result<()> {
    MACHINE.with(|machine| {
        machine.apictl.wait_maintenance()?;
        let mut chaos = machine.chaos()?;
        let mut watch = machine.apictl.follow(&["get", "services", "--watch", "--output", "json"])?;
        watch.wait_line("the first service", |line| line.contains("\"id\":\"steady\""))?;
        let mut quiet = Vec::new();
        for of in ["disks", "links"] {
            let mut watch = machine.apictl.follow(&["get", of, "--watch", "--output", "json"])?;
            watch.wait_line(of, |line| line.contains("\"event\":\"put\""))?;
            quiet.push((of, watch));
        }
        let mut seen = 0;
        for _ in 0..3 {
            chaos.kill("machined", "KILL")?;
            machine.wait_api()?;
            // A change after the restart: crash is killed and started again by the supervisor.
            let pid = pid(&machine.apictl.get("service", "crash")?)?;
            chaos.kill(&pid.to_string(), "KILL")?;
            let now = machine.apictl.wait_for("service", "crash", "crash to be started again", |service| {
                service["value"]["state"] == "ready" && service["value"]["pid"] != pid
            })?;
            let line = now["value"]["pid"].to_string();
            watch.wait_line("the change", |text| text.contains(&format!("\"pid\":{line},")))?;
            seen += 1;
        }
        let mut last: BTreeMap<String, Value> = BTreeMap::new();
        for line in watch.lines() {
            let event: Value = serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
            let id = event["id"].as_str().context("no id")?.to_owned();
            ensure!(event["event"] == "put", "a service was deleted: {line}");
            let same = last.insert(id, event["value"].clone()).is_some_and(|before| before == event["value"]);
            ensure!(!same, "told twice: {line}");
        }
        for (of, watch) in &quiet {
            let gone = watch.lines().into_iter().find(|line| !line.contains("\"event\":\"put\""));
            ensure!(gone.is_none(), "nothing happened to the {of}, but: {gone:?}");
        }
        eprintln!("{seen} restarts, {} events; apictl said:\n{}", watch.lines().len(), watch.said());
        Ok(())
    })
}

fn pid(service: &Value) -> Result<u64> {
    service["value"]["pid"].as_u64().with_context(|| format!("no pid: {service}"))
}
