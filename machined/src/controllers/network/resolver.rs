//! Writes the name servers to resolv.conf; /etc/resolv.conf is a link to it.

use std::fs;
use std::io;
use std::path::PathBuf;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::resources::resolver::{Resolver, ResolverSpec};

/// Why name servers are not in effect.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written.
    #[error("cannot write the name servers to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store refused.
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `network/resolver`.
pub struct Resolvers {
    path: PathBuf,
}

impl Resolvers {
    /// Writes this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Whole or not at all: readers never see half of it.
    fn ensure(&self, text: &str) -> io::Result<()> {
        if fs::read_to_string(&self.path).is_ok_and(|have| have == text) {
            return Ok(());
        }
        crate::file::replace(&self.path, text.as_bytes(), 0o644)
    }
}

/// The file's text, as resolv.conf(5) has it.
pub fn format(spec: &ResolverSpec) -> String {
    let mut text = String::from("# Written by machined; see `apictl get resolvers`.\n");
    for server in &spec.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !spec.search.is_empty() {
        text.push_str(&format!("search {}\n", spec.search.join(" ")));
    }
    text
}

impl Controller for Resolvers {
    const NAME: &'static str = "network/resolver";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        ports.watch::<ResolverSpec>();
        ports.own::<Resolver>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let Some(spec) = cx.get::<ResolverSpec>(ResolverSpec::ID)? else { return Ok(Next::Unready) };
        self.ensure(&format(&spec.value)).map_err(|source| Error::Write { path: self.path.clone(), source })?;
        let ResolverSpec { servers, search, origin } = (*spec.value).clone();
        cx.put(ResolverSpec::ID, Resolver { servers, search, origin })?;
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_programs_read_it() {
        let spec = ResolverSpec {
            servers: vec!["10.0.2.3".into(), "fe80::3%eth0".into()],
            search: vec!["lab.example".into(), "example".into()],
            origin: None,
        };
        let text = format(&spec);
        assert!(text.ends_with("nameserver 10.0.2.3\nnameserver fe80::3%eth0\nsearch lab.example example\n"));
    }
}
