//! The machine's name: the document's, or the one made of the machine id. Names from DHCP are not used.

use std::io;
use std::path::PathBuf;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::sync::watch;

use crate::identity::{Identity, Machine};
use crate::resources::Condition;
use crate::resources::hostname::{Hostname, HostnameSpec};
use crate::{documents, etc};

/// Why the machine has another name.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot name the machine {0}")]
    Set(String, #[source] io::Error),
    #[error("cannot write the machine's name to /etc")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `system/hostname`.
pub(super) struct Hostnames {
    identity: Identity,
    machine: watch::Receiver<Machine>,
    etc: PathBuf,
    set: fn(&str) -> io::Result<()>,
    /// What the kernel was told last.
    told: Option<String>,
}

impl Hostnames {
    pub(super) fn new(identity: Identity, etc: impl Into<PathBuf>, set: fn(&str) -> io::Result<()>) -> Self {
        let machine = identity.watch();
        Self { identity, machine, etc: etc.into(), set, told: None }
    }

    fn apply(&mut self) -> Result<Machine, Error> {
        let machine = self.machine.borrow_and_update().clone();
        let name = machine.short().to_owned();
        if self.told.as_ref() != Some(&name) {
            (self.set)(&name).map_err(|error| Error::Set(name.clone(), error))?;
            etc::write_name(&self.etc, &machine).map_err(Error::Write)?;
            self.told = Some(name);
        }
        Ok(machine)
    }
}

impl Controller for Hostnames {
    const NAME: &'static str = "system/hostname";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        ports.own::<HostnameSpec>().own::<Hostname>().share::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let Some(documents) = documents::of::<config::kinds::Hostname>(cx)? else {
            // The machine id may be found meanwhile, and with it the name.
            self.apply()?;
            return Ok(Next::Unready);
        };
        let document = documents.into_iter().next();
        self.identity.rename(document.as_ref().map(|document| document.body.hostname.as_str()));
        let origin = document.map(|document| document.origin);
        let spec = HostnameSpec { hostname: self.identity.now().hostname, origin: origin.clone() };
        cx.put(HostnameSpec::ID, spec)?;
        let applied = self.apply();
        if let Some(origin) = &origin {
            let why = applied.as_ref().err().map(|error| crate::trace::chain(error).to_string()).unwrap_or_default();
            documents::tell(cx, origin, &why)?;
        }
        let machine = applied?;
        let (hostname, full_name) = (machine.short().to_owned(), machine.hostname);
        cx.put(Hostname::ID, Hostname { hostname, full_name, origin })?;
        Ok(Next::OnChange)
    }

    async fn wake(&mut self) {
        if self.machine.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use reconcile::{Store, run_cycle};

    use super::*;
    use crate::controllers::system::tests_support::{decide, document, undecided};

    #[expect(clippy::unnecessary_wraps, reason = "the kernel may refuse")]
    fn take(_: &str) -> io::Result<()> {
        Ok(())
    }

    fn refuse(_: &str) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    #[tokio::test]
    async fn the_documents_name_is_taken_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let (identity, _keeper) = crate::identity::build(&dir.path().join("machine-id"), "boot".into());
        let default = identity.now().hostname;
        let store = Store::new();
        let mut controller = Hostnames::new(identity.clone(), dir.path(), take);
        undecided(&store);
        assert_eq!(run_cycle(&mut controller, &store).await, Ok(Next::Unready));
        let file = || fs::read_to_string(dir.path().join("hostname")).unwrap();
        assert_eq!(file(), format!("{default}\n"));

        decide(&store, &[document("Hostname", "", serde_json::json!({ "hostname": "web-1.example.com" }))]);
        run_cycle(&mut controller, &store).await.unwrap();
        assert_eq!(file(), "web-1\n");
        let status = store.get::<Hostname>(Hostname::ID).unwrap().value;
        assert_eq!((status.hostname.as_str(), status.full_name.as_str()), ("web-1", "web-1.example.com"));
        assert_eq!(status.origin.as_ref().unwrap().document, "Hostname");
        assert!(store.get::<Condition>("document/Hostname").unwrap().value.met);

        decide(&store, &[]);
        run_cycle(&mut controller, &store).await.unwrap();
        assert_eq!((file(), identity.now().hostname), (format!("{default}\n"), default));
    }

    #[tokio::test]
    async fn what_the_kernel_refuses_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (identity, _keeper) = crate::identity::build(&dir.path().join("machine-id"), "boot".into());
        let store = Store::new();
        decide(&store, &[document("Hostname", "", serde_json::json!({ "hostname": "web-1" }))]);
        let mut controller = Hostnames::new(identity, dir.path(), refuse);
        assert!(run_cycle(&mut controller, &store).await.is_err());
        assert!(!store.get::<Condition>("document/Hostname").unwrap().value.met);
    }
}
