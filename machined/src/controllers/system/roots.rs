//! The authorities that programs on the machine trust, in the one file that they read. The image brings none.

use std::fs;
use std::io;
use std::path::PathBuf;

use api::fingerprint::Fingerprint;
use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::resources::Condition;
use crate::resources::trusted_roots::{TrustedRoots, TrustedRootsSpec};
use crate::{documents, file};

/// Why the file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `system/roots`.
pub(super) struct Roots {
    path: PathBuf,
}

impl Roots {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Whole or not at all; without a certificate there is no file.
    fn ensure(&self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        match fs::read_to_string(&self.path) {
            Ok(have) if have == text => Ok(()),
            _ => file::replace(&self.path, text.as_bytes(), 0o644),
        }
    }
}

impl Controller for Roots {
    const NAME: &'static str = "system/roots";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        ports.own::<TrustedRootsSpec>().own::<TrustedRoots>().share::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let Some(documents) = documents::of::<config::kinds::TrustedRoots>(cx)? else { return Ok(Next::Unready) };
        let mut text = String::new();
        let mut specs = Vec::new();
        for document in documents {
            let der = document.body.der();
            let certificates = der.iter().map(|der| Fingerprint::of_der(der).to_string()).collect();
            // Written anew: what else stood in the document is nobody's business.
            for der in der {
                let pem = pem::Pem::new("CERTIFICATE", der);
                text.push_str(&format!("# {}\n{}", document.origin.document, pem::encode_config(&pem, UNIX)));
            }
            let spec = TrustedRootsSpec { certificates, origin: document.origin };
            cx.put(&document.name, spec.clone())?;
            specs.push((document.name, spec));
        }
        let written = self.ensure(&text);
        for (name, TrustedRootsSpec { certificates, origin }) in specs {
            let why = written.as_ref().err().map(ToString::to_string).unwrap_or_default();
            documents::tell(cx, &origin, &why)?;
            if written.is_ok() {
                let file = self.path.display().to_string();
                cx.put(&name, TrustedRoots { certificates, file, origin })?;
            }
        }
        written.map_err(|error| Error::Write(self.path.clone(), error))?;
        Ok(Next::OnChange)
    }
}

const UNIX: pem::EncodeConfig = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);

#[cfg(test)]
mod tests {
    use reconcile::{Store, run_cycle};
    use serde_json::json;

    use super::*;
    use crate::controllers::system::tests_support::{decide, document, undecided};

    #[tokio::test]
    async fn the_file_holds_the_certificates_of_all_documents_and_goes_with_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ssl/certs/ca-certificates.crt");
        let pem = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new(vec![name.into()]).unwrap().self_signed(&key).unwrap().pem()
        };
        let (a, b) = (pem("a"), pem("b"));
        let store = Store::new();
        let mut controller = Roots::new(&path);
        undecided(&store);
        assert_eq!(run_cycle(&mut controller, &store).await, Ok(Next::Unready));

        let both = json!({ "certificates": format!("text before\n{a}{b}") });
        decide(
            &store,
            &[document("TrustedRoots", "both", both), document("TrustedRoots", "b", json!({ "certificates": b }))],
        );
        run_cycle(&mut controller, &store).await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(pem::parse_many(&text).unwrap().len(), 3);
        assert!(text.contains(&a.replace("\r\n", "\n")) && !text.contains("text before"), "{text}");
        assert_eq!(store.get::<TrustedRoots>("both").unwrap().value.certificates.len(), 2);

        decide(&store, &[]);
        run_cycle(&mut controller, &store).await.unwrap();
        assert!(!path.exists() && store.list::<TrustedRoots>().is_empty());
    }
}
