//! The service files inside an image, checked at build time: machined would refuse a wrong one at boot, when it is too late.

use config::service;

use crate::rootfs::SERVICES;
use crate::tree::{Node, Tree};

/// A service file is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not parse.
    #[error("{path}:\n{problems}")]
    Wrong {
        /// Path in the image.
        path: String,
        /// All that is wrong.
        problems: String,
    },
    /// Its program is not in the image.
    #[error("{path} runs {program}, which is not an executable file in the image")]
    Program {
        /// Path in the image.
        path: String,
        /// What it runs.
        program: String,
    },
}

/// Checks every service file of a tree.
///
/// # Errors
/// The first that is wrong, with all its problems.
pub fn check(tree: &Tree) -> Result<(), Error> {
    for (path, bytes, ..) in tree.files().filter(|(path, ..)| path.starts_with(SERVICES)) {
        let wrong = |problems: String| Error::Wrong { path: path.to_owned(), problems };
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let service = service::parse(text).map_err(|problems| wrong(problems.to_string()))?;
        let program = service.run.first().cloned().unwrap_or_default();
        if !matches!(tree.get(&program), Some(Node::File { executable: true, .. })) {
            return Err(Error::Program { path: path.to_owned(), program });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Origin;

    #[test]
    fn the_gateway_is_declared_well_and_needs_its_program() {
        let text = include_bytes!("../services/gateway.yaml");
        let mut tree = Tree::default();
        tree.file(&format!("{SERVICES}/gateway.yaml"), text.to_vec(), false, Origin::Stele);
        assert!(matches!(check(&tree), Err(Error::Program { .. })));
        tree.file("/usr/bin/gateway", Vec::new(), true, Origin::Stele);
        check(&tree).unwrap();
        tree.file(&format!("{SERVICES}/x.yaml"), b"kind: Other\n".to_vec(), false, Origin::Stele);
        assert!(matches!(check(&tree), Err(Error::Wrong { .. })));
    }
}
