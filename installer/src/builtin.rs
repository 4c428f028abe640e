//! What is built into an image for who uses it: the public keys that sign installer images; and, by an operator into an image
//! of their own, a first configuration and the rescue authority. Checked here: machined would refuse a wrong one at boot, when
//! it is too late.

use std::path::{Path, PathBuf};

use config::Document;
use config::kinds::Api;

use crate::tree::{Origin, Tree};

/// Where machined looks for the configuration.
pub const CONFIG: &str = "/usr/lib/stele/config.yaml";
/// Where machined looks for the rescue authority.
pub const RESCUE: &str = "/usr/lib/stele/rescue.pem";

/// Where machined looks for the public keys of installer images: one PEM file each, `NAME.pub`.
pub const IMAGE_KEYS: &str = "/usr/lib/stele/image-keys";

/// A file that must not be built in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It is wrong.
    #[error("{path} cannot be built in:\n{problems}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        problems: String,
    },
}

/// Puts what is given into the tree.
///
/// # Errors
/// A file that cannot be read, or is wrong.
pub fn put(tree: &mut Tree, configuration: Option<&Path>, rescue: Option<&Path>) -> Result<(), Error> {
    if let Some(path) = configuration {
        let text = read(path)?;
        let wrong = |problems: config::Problems| Error::Wrong { path: path.to_owned(), problems: problems.to_string() };
        let stream = config::parse_bytes(&text).map_err(wrong)?;
        config::complete(&stream.documents).map_err(wrong)?;
        tree.file(CONFIG, text, false, Origin::Stele);
    }
    if let Some(path) = rescue {
        let text = read(path)?;
        let wrong = |problems: String| Error::Wrong { path: path.to_owned(), problems };
        let certificate = String::from_utf8(text).map_err(|_| wrong("expected PEM text".into()))?;
        // Documents name the rescue authority, too, and check it.
        let api = Api { rescue: Some(certificate.clone()), ..Api::default() };
        let document = Document::of(None, api).whole().to_string();
        config::parse(&document).map_err(|problems| {
            wrong(problems.0.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("\n"))
        })?;
        tree.file(RESCUE, certificate.into_bytes(), false, Origin::Stele);
    }
    Ok(())
}

/// Puts public keys into the tree, by the names of their files.
///
/// # Errors
/// A file that cannot be read, or is no such key.
pub fn put_keys(tree: &mut Tree, keys: &[PathBuf]) -> Result<(), Error> {
    for path in keys {
        let wrong = |problem: &str| Error::Wrong { path: path.clone(), problems: problem.to_owned() };
        let text = String::from_utf8(read(path)?).map_err(|_| wrong("expected PEM text"))?;
        if !crate::oci::is_key(&text) {
            return Err(wrong("expected an ECDSA P-256 public key in PEM (BEGIN PUBLIC KEY)"));
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        tree.file(&format!("{IMAGE_KEYS}/{name}.pub"), text.into_bytes(), false, Origin::Stele);
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_of_images_are_built_in() {
        let folder = tempfile::tempdir().unwrap();
        let key = crate::keys::make_image(folder.path(), "release").unwrap();
        let mut tree = Tree::default();
        put_keys(&mut tree, std::slice::from_ref(&key.public)).unwrap();
        assert!(tree.get("/usr/lib/stele/image-keys/release.pub").is_some());
        let said = put_keys(&mut tree, &[key.key]).unwrap_err().to_string();
        assert!(said.contains("expected an ECDSA P-256 public key"), "{said}");
    }

    #[test]
    fn only_what_machined_would_take_is_built_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ca = include_str!("../../api/config/src/kinds/example-ca.txt");
        let pem: String = ca.lines().map(|line| format!("{}\n", line.trim())).collect();
        let api: String = ca.lines().map(|line| format!("    {}\n", line.trim())).collect();
        let api = format!("apiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n{api}");
        let mut tree = Tree::default();
        put(&mut tree, Some(&file("a", &api)), Some(&file("b", &pem))).unwrap();
        assert!(tree.get(CONFIG).is_some() && tree.get(RESCUE).is_some());
        for (configuration, rescue, wanted) in [
            (Some(file("c", "apiVersion: stele/v1\nkind: Hostnam\n")), None, "line 2"),
            (Some(file("d", "apiVersion: stele/v1\nkind: Hostname\nhostname: a\n")), None, "kind Api is missing"),
            (None, Some(file("e", "hello")), "e cannot be built in"),
            (None, Some(folder.path().join("f")), "cannot read"),
        ] {
            let said = put(&mut tree, configuration.as_deref(), rescue.as_deref()).unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}");
        }
    }
}
