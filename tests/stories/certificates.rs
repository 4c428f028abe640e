//! Certificates on a machine that is configured: one that is over, one that is revoked, the rescue's, a renewed one; and the
//! authority that signs them all is replaced while the machine is asked without a pause.

use std::{
    process::Output,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{
    apictl::Apictl,
    artifacts, machine,
    operator::{Operator, wait_blessed},
    runner::Story,
    vm::{BOOT, Spec},
    wait,
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("certificates_are_made_renewed_and_revoked_and_their_authority_is_replaced_under_load", story)]
}

/// `apictl`'s own exit codes (docs/apictl.md).
const REFUSED: i32 = 4;

fn story() -> Result<()> {
    machine::with(&Spec::roomy(&artifacts::test_image())?, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "node-1")?;
        let apictl = &machine.apictl;
        wait_blessed(apictl, 1)?;
        over(apictl, &operator)?;
        revoked(apictl, &operator)?;
        rescue(apictl, &operator)?;
        renewed(apictl)?;
        replaced(apictl, &operator)?;
        let verified = apictl.json(&["audit", "verify"])?;
        ensure!(verified[0]["whole"] == true, "the audit: {verified}");
        apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT).map(drop)
    })
}

/// A certificate for somebody, in a file.
fn certificate(apictl: &Apictl, operator: &Operator, name: &str, more: &[&str]) -> Result<String> {
    let secrets = if more.contains(&"--rescue") { operator.rescue() } else { operator.secrets() };
    let path = operator.path(&format!("{name}.pem"));
    apictl.ok(&[&["cert", "new", "--secrets", &secrets, "--name", name, "--out", &path], more].concat())?;
    Ok(path)
}

fn refused(answer: &Output, why: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&answer.stderr);
    ensure!(answer.status.code() == Some(REFUSED) && said.contains(why), "not {why:?}: {}: {said}", answer.status);
    Ok(())
}

fn over(apictl: &Apictl, operator: &Operator) -> Result<()> {
    let path = certificate(apictl, operator, "brief", &["--ttl", "1s"])?;
    // The clocks of the two differ by a moment.
    let answer = until_refused(apictl, &["version", "--client-cert", &path], "is over since")?;
    refused(&answer, "apictl cert new")
}

/// Waits until a call is refused for this reason; one that fails otherwise meanwhile is asked again.
fn until_refused(apictl: &Apictl, arguments: &[&str], why: &str) -> Result<Output> {
    let mut last = String::new();
    let found = wait::until(&format!("a refusal that says {why:?}"), BOOT, || {
        let answer = apictl.run(arguments).ok()?;
        last = String::from_utf8_lossy(&answer.stderr).into_owned();
        refused(&answer, why).is_ok().then_some(answer)
    });
    found.with_context(|| format!("last: {last}"))
}

fn revoked(apictl: &Apictl, operator: &Operator) -> Result<()> {
    let path = certificate(apictl, operator, "alice", &["--role", "reader"])?;
    apictl.ok(&["get", "machine", "--client-cert", &path])?;
    refused(&apictl.run(&["reboot", "--no-wait", "--client-cert", &path])?, "")?;
    let mut following = apictl.follow(&["get", "links", "-w", "--client-cert", &path])?;
    following.wait_line("the first link", |line| line.contains("lo"))?;
    apictl.ok(&["cert", "revoke", &path, "--message", "alice left"])?;
    until_refused(apictl, &["version", "--client-cert", &path], "is revoked")?;
    let ended =
        wait::until("what alice followed to end", BOOT, || following.said().contains("is revoked").then_some(()));
    ended.with_context(|| following.said())
}

fn rescue(apictl: &Apictl, operator: &Operator) -> Result<()> {
    let path = certificate(apictl, operator, "rescue", &["--rescue"])?;
    apictl.ok(&["version", "--client-cert", &path])?;
    let shouted = wait::until("the rescue to be shouted about", BOOT, || {
        apictl.ok(&["events"]).ok().filter(|events| events.contains("rescue"))
    });
    shouted?;
    Ok(())
}

fn own(apictl: &Apictl) -> Result<Value> {
    Ok(apictl.json(&["cert", "show"])?[0]["fingerprint"].clone())
}

fn renewed(apictl: &Apictl) -> Result<()> {
    let before = own(apictl)?;
    apictl.ok(&["cert", "renew"])?;
    ensure!(own(apictl)? != before, "it is the certificate of before");
    apictl.ok(&["version"]).map(drop)
}

/// Asked from before until after; every answer counts.
fn replaced(apictl: &Apictl, operator: &Operator) -> Result<()> {
    let old = certificate(apictl, operator, "bob", &[])?;
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = || -> Result<()> {
        while !done.load(Ordering::Relaxed) {
            apictl.ok(&["version"])?;
            asked.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let rotated = thread::scope(|scope| {
        let load = scope.spawn(ask);
        let rotated = apictl.ok(&["cert", "rotate-ca", "--secrets", &operator.secrets()]);
        done.store(true, Ordering::Relaxed);
        let load = load.join().map_err(|_| anyhow::anyhow!("the load ended badly"));
        rotated.and(load.and_then(|load| load.context("asked meanwhile")))
    });
    rotated?;
    ensure!(asked.load(Ordering::Relaxed) > 3, "it was hardly asked meanwhile");
    refused(&apictl.run(&["version", "--client-cert", &old])?, "does not accept who signed")?;
    apictl.ok(&["health"]).map(drop)
}
