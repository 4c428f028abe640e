//! A service that crashes is started again more and more slowly; one that never gets ready is shown as such, and the
//! machine says that it misses it.

use anyhow::{Context, Result, ensure};
use tests::runner::Story;

use crate::shared::MACHINE;

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_crashing_service_backs_off_and_one_that_is_never_ready_is_shown_as_such", story)]
}

fn story() -> Result<()> {
    MACHINE.with(|machine| {
        let apictl = &machine.apictl;
        apictl.wait_maintenance()?;
        let mut chaos = machine.chaos()?;
        let before = apictl.get("service", "crash")?["value"]["restarts"].as_u64().context("no restarts")?;
        for role in ["crash", "never-ready"] {
            chaos.call(&format!("tell {role}"))?;
        }
        let crash = apictl.wait_for("service", "crash", "crash to back off", |service| {
            service["value"]["state"] == "backing-off" && service["value"]["restarts"].as_u64() >= Some(before + 3)
        })?;
        ensure!(crash["value"]["lastEnd"].to_string().contains("exit code 1"), "how it ended is not told: {crash}");
        let never = apictl.wait_for("service", "never-ready", "never-ready to be seen", |service| {
            service["value"]["lastEnd"].to_string().contains("ready") && service["value"]["state"] != "ready"
        })?;
        ensure!(never["value"]["why"] != "", "no reason: {never}");
        let status = apictl.wait_for("machine", "machine", "the machine to miss both", |status| {
            let unmet = status["value"]["unmet"].to_string();
            unmet.contains("never-ready") && unmet.contains("crash")
        })?;
        ensure!(apictl.run(&["health"])?.status.code() == Some(7), "called healthy: {status}");
        for role in ["crash", "never-ready"] {
            chaos.call(&format!("hush {role}"))?;
        }
        for role in ["crash", "never-ready"] {
            apictl.wait_for("service", role, "the service to be well again", |s| s["value"]["state"] == "ready")?;
        }
        Ok(())
    })
}
