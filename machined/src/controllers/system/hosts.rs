//! `/etc/hosts`: the machine's own name, and the hosts that documents name.

use std::fs;
use std::io;
use std::path::PathBuf;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::identity::Identity;
use crate::resources::Condition;
use crate::resources::hostname::Hostname;
use crate::resources::static_host::{StaticHost, StaticHostSpec};
use crate::{documents, etc, file};

/// Why the file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `system/hosts`.
pub(super) struct Hosts {
    identity: Identity,
    path: PathBuf,
}

impl Hosts {
    pub(super) fn new(identity: Identity, path: impl Into<PathBuf>) -> Self {
        Self { identity, path: path.into() }
    }
}

/// The lines of a host, as hosts(5) has them.
fn lines(name: &str, spec: &StaticHostSpec) -> String {
    let names = std::iter::once(name).chain(spec.aliases.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    spec.addresses.iter().map(|address| format!("{address} {names}\n")).collect()
}

impl Controller for Hosts {
    const NAME: &'static str = "system/hosts";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        // For the machine's own name.
        ports.watch::<Hostname>();
        ports.own::<StaticHostSpec>().own::<StaticHost>().share::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let Some(documents) = documents::of::<config::kinds::StaticHost>(cx)? else { return Ok(Next::Unready) };
        let mut text = etc::hosts(&self.identity.now());
        for document in &documents {
            let config::kinds::StaticHost { addresses, aliases } = document.body.clone();
            let spec = StaticHostSpec { addresses, aliases, origin: document.origin.clone() };
            text.push_str(&lines(&document.name, &spec));
            cx.put(&document.name, spec)?;
        }
        let written = match fs::read_to_string(&self.path) {
            Ok(have) if have == text => Ok(()),
            _ => file::replace(&self.path, text.as_bytes(), 0o644),
        };
        for document in documents {
            let why = written.as_ref().err().map(ToString::to_string).unwrap_or_default();
            documents::tell(cx, &document.origin, &why)?;
            if written.is_ok() {
                let config::kinds::StaticHost { addresses, aliases } = document.body;
                cx.put(&document.name, StaticHost { addresses, aliases, origin: document.origin })?;
            }
        }
        written.map_err(|error| Error::Write(self.path.clone(), error))?;
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use reconcile::{Store, run_cycle};
    use serde_json::json;

    use super::*;
    use crate::controllers::system::tests_support::{decide, document, undecided};

    #[tokio::test]
    async fn hosts_come_and_go_with_their_documents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        let (identity, _keeper) = crate::identity::build(&dir.path().join("machine-id"), "boot".into());
        identity.rename(Some("web-1.example.com"));
        let store = Store::new();
        let mut controller = Hosts::new(identity, &path);
        undecided(&store);
        assert_eq!(run_cycle(&mut controller, &store).await, Ok(Next::Unready));
        assert!(!path.exists());

        let host = json!({ "addresses": ["192.0.2.80", "2001:db8::80"], "aliases": ["registry"] });
        decide(&store, &[document("StaticHost", "registry.example.com", host)]);
        run_cycle(&mut controller, &store).await.unwrap();
        let base = "127.0.0.1 localhost\n127.0.1.1 web-1.example.com web-1\n::1 localhost ip6-localhost ip6-loopback\n";
        let lines = "192.0.2.80 registry.example.com registry\n2001:db8::80 registry.example.com registry\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{base}{lines}"));
        assert!(store.get::<StaticHost>("registry.example.com").is_some());
        assert!(store.get::<StaticHostSpec>("registry.example.com").is_some());

        decide(&store, &[]);
        run_cycle(&mut controller, &store).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), base);
        assert!(store.list::<StaticHost>().is_empty());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_shown_at_the_document() {
        let dir = tempfile::tempdir().unwrap();
        let (identity, _keeper) = crate::identity::build(&dir.path().join("machine-id"), "boot".into());
        let store = Store::new();
        decide(&store, &[document("StaticHost", "a", json!({ "addresses": ["192.0.2.80"] }))]);
        let mut controller = Hosts::new(identity, dir.path());
        assert!(run_cycle(&mut controller, &store).await.is_err());
        assert!(!store.get::<Condition>("document/StaticHost/a").unwrap().value.met);
        assert!(store.list::<StaticHost>().is_empty());
    }
}
