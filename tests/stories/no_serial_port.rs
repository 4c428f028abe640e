//! A machine without serial port boots as quickly as any other; whoever has no screen either trusts its first answer.

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts,
    runner::Story,
    vm::{Serial, Spec, Vm},
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_machine_without_serial_port_boots", story)]
}

fn story() -> Result<()> {
    let vm = Vm::start(&Spec { serial: Serial::None, ..Spec::kernel(&artifacts::test_image()) })?;
    let mut apictl = Apictl::insecure(&vm);
    apictl.wait_maintenance()?;
    // The fingerprint it names is the one that is shown to who trusts blindly; from then on it is pinned.
    let status = apictl.get("machine", "machine")?;
    let fingerprint = status["value"]["fingerprint"].as_str().unwrap_or_default().to_owned();
    ensure!(fingerprint.len() == 64, "no fingerprint: {status}");
    apictl.pin(&fingerprint);
    apictl.ok(&["version"])?;
    apictl.pin(&"0".repeat(64));
    let refused = apictl.run(&["version"])?;
    ensure!(refused.status.code() == Some(8), "another fingerprint was accepted: {}", refused.status);
    Ok(())
}
