//! Debian's registry server: plain or with TLS, for anybody or with a password or tokens.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use installer::host;

use crate::fixture::stock;

/// The password of [`crate::fixture::PASSWORD`], by bcrypt.
const HTPASSWD: &str = "node:$2b$04$3YyS0PDK8UcWzqCbKgPLj.plr4wkVfx4s88azqU26Xmt.NRAjcxZC\n";

/// A server, until it is dropped.
pub(crate) struct Server {
    work: tempfile::TempDir,
    child: Child,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
}

impl Server {
    /// For anybody, without TLS.
    pub(crate) fn open() -> Self {
        Self::start(tempfile::tempdir().unwrap(), "", "")
    }

    /// With TLS of an authority of its own, and a password. The authority's certificate is [`Self::ca`].
    pub(crate) fn closed(name: &str) -> Self {
        let work = tempfile::tempdir().unwrap();
        std::fs::write(work.path().join("htpasswd"), HTPASSWD).unwrap();
        let (ca_key, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = ca.self_signed(&ca_key).unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key)).unwrap();
        for (name, text) in [("ca.crt", certificate.pem()), ("tls.crt", leaf.pem()), ("tls.key", key.serialize_pem())] {
            std::fs::write(work.path().join(name), text).unwrap();
        }
        let folder = work.path().display().to_string();
        let tls = format!(", tls: {{certificate: {folder}/tls.crt, key: {folder}/tls.key}}");
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n");
        Self::start(work, &tls, &auth)
    }

    /// With tokens of the service at this address, which this certificate's key signs.
    pub(crate) fn tokens(realm: &str, certificate: &str) -> Self {
        let work = tempfile::tempdir().unwrap();
        std::fs::write(work.path().join("issuer.crt"), certificate).unwrap();
        let folder = work.path().display().to_string();
        let auth = format!(
            "auth: {{token: {{realm: '{realm}', service: test, issuer: test, rootcertbundle: {folder}/issuer.crt}}}}\n"
        );
        Self::start(work, "", &auth)
    }

    fn start(work: tempfile::TempDir, tls: &str, auth: &str) -> Self {
        let (config, data) = (work.path().join("config.yml"), work.path().join("data"));
        let text = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0', secret: x{tls}}}\n{auth}",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        // ends with the test, however that ends
        let registry = stock("docker-registry").args(["serve".as_ref(), config.as_os_str()]).command;
        let words = std::iter::once(registry.get_program()).chain(registry.get_args());
        let mut program = host::program("setpriv", "util-linux").args(["--pdeathsig", "KILL"]).args(words);
        let mut child =
            program.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // it says which port it was given
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let address = loop {
            let line = log.next().unwrap_or_else(|| panic!("the registry ended: {seen}")).unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ',']).next().unwrap().to_owned();
            }
            seen.push_str(&line);
        };
        std::thread::spawn(move || log.for_each(drop));
        Self { work, child, address }
    }

    /// Where images are pushed to and pulled from.
    pub(crate) fn image(&self, tag: &str) -> String {
        format!("{}/stele/test:{tag}", self.address)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.work.path().join("ca.crt")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
