//! What everybody has at hand reaches the API too: openssl sees the console's fingerprint and TLS 1.3 alone, curl speaks
//! enough HTTP/2 for a call, grpcurl does the rest.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tests::{artifacts, child, runner::Story, scratch::Scratch, wait};

use crate::shared::MACHINE;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(60);

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("openssl_sees_the_fingerprint_of_the_console_and_no_tls_before_1_3", openssl),
        Story::new("curl_asks_for_the_health_as_a_grpc_client_does", curl),
        Story::long("grpcurl_asks_with_the_proto_files_and_is_told_of_nothing_without_a_certificate", grpcurl),
    ]
}

fn openssl() -> Result<()> {
    MACHINE.with(|machine| {
        machine.apictl.wait_maintenance()?;
        let address = machine.vm.api.to_string();
        let client = |more: &[&str]| {
            let mut client = child::bound("openssl");
            client.args(["s_client", "-connect", &address]).args(more);
            client
        };
        let (greeted, said) = run(client(&["-tls1_3", "-alpn", "h2"]))?;
        ensure!(greeted && said.contains("TLSv1.3") && said.contains("ALPN protocol: h2"), "no TLS 1.3: {said}");

        let folder = Scratch::new()?;
        let certificate = folder.path().join("seen.pem");
        std::fs::write(&certificate, said)?;
        let mut x509 = child::bound("openssl");
        x509.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&certificate);
        let (_, printed) = run(x509)?;
        let seen = printed.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase();
        ensure!(seen == machine.apictl.fingerprint(), "another certificate than the console's: {printed}");

        let (greeted, said) = run(client(&["-tls1_2"]))?;
        ensure!(!greeted && said.contains("alert protocol version"), "TLS 1.2 is spoken: {said}");
        Ok(())
    })
}

fn curl() -> Result<()> {
    MACHINE.with(|machine| {
        machine.apictl.wait_maintenance()?;
        let folder = Scratch::new()?;
        let file = |name| folder.path().join(name);
        // One message: not compressed, no bytes (gRPC over HTTP/2, Length-Prefixed-Message): the health of everything.
        std::fs::write(file("request"), [0; 5])?;
        let mut curl = child::bound("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--http2", "--header", "content-type: application/grpc"])
            .args(["--header", "te: trailers", "--data-binary"])
            .arg(format!("@{}", file("request").display()))
            .arg("--dump-header")
            .arg(file("headers"))
            .arg("--output")
            .arg(file("answer"))
            .arg(format!("https://{}/grpc.health.v1.Health/Check", machine.vm.api));
        let (done, said) = run(curl)?;
        let headers = std::fs::read_to_string(file("headers")).with_context(|| said.clone())?;
        ensure!(done && headers.starts_with("HTTP/2 200"), "{said}{headers}");
        ensure!(headers.contains("grpc-status: 0"), "no good end of the call: {headers}");
        // HealthCheckResponse { status: SERVING }.
        let answer = std::fs::read(file("answer"))?;
        ensure!(answer == [0, 0, 0, 0, 2, 8, 1], "not serving: {answer:?}");
        Ok(())
    })
}

fn grpcurl() -> Result<()> {
    let there = child::free("grpcurl").arg("-version").output().is_ok();
    if !there {
        eprintln!(
            "grpcurl is not installed here: nothing was tried (go install github.com/fullstorydev/grpcurl/cmd/grpcurl)"
        );
        return Ok(());
    }
    MACHINE.with(|machine| {
        machine.apictl.wait_maintenance()?;
        let address = machine.vm.api.to_string();
        let call = |arguments: &[&str]| {
            let mut grpcurl = child::bound("grpcurl");
            grpcurl.arg("-insecure").args(arguments);
            run(grpcurl)
        };
        let (told, services) = call(&[&address, "list"])?;
        ensure!(!told && services.contains("PermissionDenied"), "a stranger is told of the services: {services}");
        let proto = artifacts::root().join("api/proto");
        let from = ["-import-path", &proto.display().to_string(), "-proto", "stele/v1/machine.proto"];
        let (done, version) = call(&[&from[..], &[&address, "stele.v1.Machine/Version"]].concat())?;
        ensure!(done && version.contains("cloud-amd64"), "no version: {version}");
        Ok(())
    })
}

/// Runs a client with nothing on its standard input: whether it was content, and what it said.
fn run(mut command: Command) -> Result<(bool, String)> {
    let folder = Scratch::new()?;
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create(&out)?)
        .stderr(std::fs::File::create(&err)?);
    let what = format!("{command:?}");
    let mut client = child::spawn(command)?;
    let status = wait::until(&what, CALL, || client.try_wait().transpose())??;
    let text = |path| Ok::<_, std::io::Error>(String::from_utf8_lossy(&std::fs::read(path)?).into_owned());
    Ok((status.success(), text(&out)? + &text(&err)?))
}
