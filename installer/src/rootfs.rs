//! The root filesystem's tree: the base, our programs, services and generated files, and an overlay when one is given.

use std::path::{Path, PathBuf};

use crate::base::Base;
use crate::release::Release;
use crate::tree::{Origin, Tree};

/// Our programs, by their names in the folder of `--binaries`.
const PROGRAMS: [&str; 3] = ["machined", "gateway", "installer"];
/// Where services are declared.
pub const SERVICES: &str = "/usr/lib/stele/services";
/// Mount points and folders that machined fills.
const FOLDERS: [&str; 9] = ["/boot", "/dev", "/etc", "/mnt", "/proc", "/run", "/sys", "/tmp", "/var"];
/// The merged /usr of Debian 13.
const LINKS: [(&str, &str); 4] =
    [("/bin", "usr/bin"), ("/sbin", "usr/sbin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")];

/// Something that belongs into the image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of ours.
    #[error("cannot read {path}; `make build` compiles it")]
    Program {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It would not start: there is no library for it.
    #[error("{path} is linked dynamically; our programs are built with -C target-feature=+crt-static (`make build`)")]
    Dynamic {
        /// The file.
        path: PathBuf,
    },
    /// A file of the checkout or the overlay.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// What is put together.
pub struct Inputs<'a> {
    /// The installer folder of the checkout.
    pub source: &'a Path,
    /// Folder with our static programs.
    pub binaries: &'a Path,
    /// Folder whose content is laid over everything.
    pub overlay: Option<&'a Path>,
    /// Which build.
    pub release: &'a Release,
}

/// The root filesystem.
///
/// # Errors
/// When a program or file cannot be read, or a program is not static.
pub fn build(base: Base, inputs: &Inputs<'_>) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    for (path, node, origin) in base.tree.iter().filter(|(path, ..)| !path.starts_with("/.boot")) {
        tree.put(path, node.clone(), origin.cloned());
    }
    for (path, target) in LINKS {
        tree.link(path, target, Origin::Stele);
    }
    for path in FOLDERS {
        tree.dir(path);
    }
    for name in PROGRAMS {
        tree.file(&format!("/usr/bin/{name}"), program(inputs.binaries, name)?, true, Origin::Stele);
    }
    let services = inputs.source.join("services");
    for (name, bytes) in files(&services)? {
        tree.file(&format!("{SERVICES}/{name}"), bytes, false, Origin::Stele);
    }
    let mut image = serde_json::to_string_pretty(inputs.release).unwrap_or_default();
    image.push('\n');
    tree.file("/usr/lib/stele/image.json", image.into_bytes(), false, Origin::Stele);
    tree.file("/usr/lib/os-release", os_release(inputs.release).into_bytes(), false, Origin::Stele);
    if let Some(overlay) = inputs.overlay {
        lay(&mut tree, overlay, "")?;
    }
    Ok(tree)
}

/// One of our programs; it must be static.
///
/// # Errors
/// When it is missing or linked dynamically.
pub fn program(folder: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).map_err(|cause| Error::Program { path: path.clone(), cause })?;
    match crate::elf::needs(&bytes) {
        Ok(needs) if needs.interpreter.is_none() && needs.libraries.is_empty() => Ok(bytes),
        Ok(_) => Err(Error::Dynamic { path }),
        Err(cause) => Err(Error::Program { path, cause: std::io::Error::other(cause) }),
    }
}

/// os-release(5), also a section of the UKI.
#[must_use]
pub fn os_release(release: &Release) -> String {
    format!(
        "NAME=Stele\nID=stele\nPRETTY_NAME=\"Stele {version}\"\nVERSION_ID={version}\nIMAGE_ID=stele\n\
         IMAGE_VERSION={version}\nBUILD_ID={commit}\n",
        version = release.version,
        commit = release.commit
    )
}

fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let failed = |path: &Path, cause| Error::Read { path: path.to_owned(), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|cause| failed(folder, cause))? {
        let path = entry.map_err(|cause| failed(folder, cause))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.push((name, std::fs::read(&path).map_err(|cause| failed(&path, cause))?));
    }
    Ok(found)
}

/// Lays a folder over the tree; of modes only "executable" counts.
fn lay(tree: &mut Tree, folder: &Path, at: &str) -> Result<(), Error> {
    let failed = |cause| Error::Read { path: folder.to_owned(), cause };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = format!("{at}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            tree.dir(&path);
            lay(tree, &entry.path(), &path)?;
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).map_err(failed)?;
            tree.link(&path, &target.to_string_lossy(), Origin::Stele);
        } else {
            let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().map_err(failed)?.permissions());
            let bytes = std::fs::read(entry.path()).map_err(failed)?;
            tree.file(&path, bytes, mode & 0o111 != 0, Origin::Stele);
        }
    }
    Ok(())
}

/// The files outside the root filesystem that [`base`] holds.
#[must_use]
pub fn boot_file(base: &Base, path: &str) -> Vec<u8> {
    match base.tree.get(path) {
        Some(crate::tree::Node::File { bytes, .. }) => bytes.clone(),
        _ => Vec::new(),
    }
}
