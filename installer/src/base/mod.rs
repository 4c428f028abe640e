//! The part of the image that comes from Debian: programs with their libraries, kernel and modules, licence texts.
//!
//! It depends on the lock file and `image.yaml` alone, so it is kept in the cache: opening a kernel package takes seconds.

mod pick;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::lock::{Lock, Package, Use};
use crate::modules;
use crate::spec::{Image, Kernel};
use crate::tree::{Node, Origin, Tree};
use crate::{cache, deb};
use pick::{Pool, is_licence, licences, take};

/// Changes when this code takes other files than before, so that old cache entries are not used.
const REVISION: &[u8] = b"1";

/// What comes from Debian.
#[derive(Debug)]
pub struct Base {
    /// Programs, libraries, modules, licences.
    pub tree: Tree,
    /// The rest.
    pub parts: Parts,
}

/// What is not part of the root filesystem.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parts {
    /// `uname -r`.
    pub release: String,
    /// Names of the modules that init loads, in load order.
    pub root_modules: Vec<String>,
    /// Paths in the tree of those.
    pub root_module_files: Vec<String>,
    /// Packages that gave at least one file.
    pub packages: Vec<Package>,
    /// Where each path of the tree comes from.
    origins: BTreeMap<String, Origin>,
}

/// Where the kernel lies in the tree of [`Base`]; it is taken out before the root filesystem is made.
pub const VMLINUZ: &str = "/.boot/vmlinuz";
/// Where the EFI stub lies in the tree of [`Base`].
pub const STUB: &str = "/.boot/stub";

/// The base cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A package cannot be read.
    #[error(transparent)]
    Deb(#[from] deb::Error),
    /// Modules.
    #[error(transparent)]
    Modules(#[from] modules::Error),
    /// A file that should be there is in no package.
    #[error(
        "{path} (needed by {by}) is in none of the pinned packages: name its package in image.yaml, then `imager lock`"
    )]
    Nowhere {
        /// The file.
        path: String,
        /// Who wants it.
        by: String,
    },
    /// An ELF file that cannot be read.
    #[error("{path} is not a readable program")]
    Elf {
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: object::Error,
    },
    /// The cache.
    #[error("cannot use the cache")]
    Cache(#[from] std::io::Error),
}

/// Makes the base, or takes it from the cache.
///
/// # Errors
/// See [`Error`].
pub fn build(image: &Image, lock: &Lock, kernel: Kernel) -> Result<Base, Error> {
    let spec = format!("{:?} {:?}", image.programs, (&image.modules, kernel));
    let pins: String = lock.needed(kernel).map(|package| package.sha256.as_str()).collect();
    let key = cache::key(&[REVISION, spec.as_bytes(), pins.as_bytes()]);
    let folder = cache::dir().join("base");
    let (tar, json) = (folder.join(format!("{key}.tar")), folder.join(format!("{key}.json")));
    if let Some(base) = std::fs::read(&json).ok().and_then(|json| restore(&json, &std::fs::read(&tar).ok()?)) {
        return Ok(base);
    }
    let base = assemble(image, lock, kernel)?;
    let mut bytes = Vec::new();
    base.tree.write_tar(&mut bytes, 0)?;
    cache::save(&tar, &bytes)?;
    cache::save(&json, &serde_json::to_vec(&base.parts).map_err(std::io::Error::other)?)?;
    Ok(base)
}

fn restore(json: &[u8], tar: &[u8]) -> Option<Base> {
    let parts: Parts = serde_json::from_slice(json).ok()?;
    let mut tree = Tree::default();
    for (path, node) in deb::entries(tar, |_| true).ok()? {
        let origin = parts.origins.get(&path).cloned();
        tree.put(&path, node, origin);
    }
    Some(Base { tree, parts })
}

fn assemble(image: &Image, lock: &Lock, kernel: Kernel) -> Result<Base, Error> {
    let mut pool = Pool::new();
    for package in lock.uses(Use::Image) {
        let nodes = deb::read(package, |path| !path.starts_with("/usr/share/") || is_licence(path))?;
        pool.extend(nodes.into_iter().map(|(path, node)| (path, (node, package.name.clone()))));
    }
    let mut tree = Tree::default();
    for program in &image.programs {
        take(&pool, &mut tree, program, "image.yaml")?;
    }
    for package in lock.uses(Use::Stub) {
        let nodes = deb::read(package, |path| path.ends_with("linuxx64.efi.stub") || is_licence(path))?;
        for (path, node) in nodes.into_iter().filter(|(_, node)| matches!(node, Node::File { .. })) {
            let path = if is_licence(&path) { path } else { STUB.to_owned() };
            tree.put(&path, node, Some(Origin::Package(package.name.clone())));
        }
    }
    let mut parts = Parts {
        release: String::new(),
        root_modules: Vec::new(),
        root_module_files: Vec::new(),
        packages: Vec::new(),
        origins: BTreeMap::new(),
    };
    for package in lock.uses(Use::kernel(kernel)) {
        let nodes = deb::read(package, |path| {
            path.starts_with("/usr/lib/modules/") || path.starts_with("/boot/vmlinuz-") || is_licence(path)
        })?;
        let origin = Origin::Package(package.name.clone());
        let modules = modules::Kernel::new(&nodes)?;
        let taken = modules.closure(image.modules.all(kernel))?;
        let folder = format!("/usr/lib/modules/{}", modules.release);
        for (name, module) in &taken {
            let bytes = modules.bytes(name).unwrap_or_default().to_vec();
            tree.file(&format!("{folder}/{}", module.path), bytes, false, origin.clone());
        }
        for (name, text) in modules.index(&taken) {
            tree.file(&format!("{folder}/{name}"), text.into_bytes(), false, Origin::Stele);
        }
        for name in &image.modules.root {
            for name in modules::order(&taken, name) {
                if !parts.root_modules.contains(&name) {
                    parts.root_module_files.push(format!("{folder}/{}", taken[&name].path));
                    parts.root_modules.push(name);
                }
            }
        }
        parts.release = modules.release;
        for (path, node) in nodes {
            if path.starts_with("/boot/vmlinuz-") {
                tree.put(VMLINUZ, node, Some(origin.clone()));
            } else if is_licence(&path) && matches!(node, Node::File { .. }) {
                tree.put(&path, node, Some(origin.clone()));
            }
        }
    }
    licences(&pool, &mut tree)?;
    parts.origins = tree.iter().filter_map(|(path, _, origin)| Some((path.to_owned(), origin?.clone()))).collect();
    let used: BTreeSet<_> = parts.origins.values().collect();
    parts.packages =
        lock.needed(kernel).filter(|package| used.contains(&Origin::Package(package.name.clone()))).cloned().collect();
    Ok(Base { tree, parts })
}
