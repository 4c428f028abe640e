//! Kernel modules: the named ones with everything they depend on, and the index files that go with them.
//!
//! A module says itself what it depends on, its aliases and its soft dependencies (section `.modinfo`), so `depmod` is not
//! needed and only the modules that are taken are ever decompressed.

mod modinfo;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;

use crate::elf;
use crate::tree::Node;
pub use modinfo::Module;
use modinfo::{normal, parse, soft, stem};

/// Modules cannot be gathered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The package has no modules.
    #[error("the kernel package has no /usr/lib/modules/<release>/modules.builtin")]
    NoRelease,
    /// Named in image.yaml, not there.
    #[error("this kernel has no module {name}: remove it from image.yaml")]
    Unknown {
        /// Module.
        name: String,
    },
    /// Not readable.
    #[error("cannot read module {name}")]
    Damaged {
        /// Module.
        name: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The modules of one kernel package.
pub struct Kernel<'a> {
    /// `uname -r`.
    pub release: String,
    files: BTreeMap<String, (&'a str, &'a [u8])>,
    builtin: BTreeSet<String>,
    builtin_list: String,
}

impl<'a> Kernel<'a> {
    /// Over the nodes of a kernel package.
    ///
    /// # Errors
    /// When it has no modules.
    pub fn new(nodes: &'a BTreeMap<String, Node>) -> Result<Self, Error> {
        let (release, list) = nodes
            .iter()
            .find_map(|(path, node)| {
                let release = path.strip_prefix("/usr/lib/modules/")?.strip_suffix("/modules.builtin")?;
                let Node::File { bytes, .. } = node else { return None };
                Some((release.to_owned(), String::from_utf8_lossy(bytes).into_owned()))
            })
            .ok_or(Error::NoRelease)?;
        let prefix = format!("/usr/lib/modules/{release}/");
        let files = nodes
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File { bytes, .. } if path.contains(".ko") => {
                    Some((stem(path), (path.strip_prefix(&prefix)?, bytes.as_slice())))
                }
                _ => None,
            })
            .collect();
        Ok(Self { release, files, builtin: list.lines().map(stem).collect(), builtin_list: list })
    }

    /// The compressed file of a module.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.files.get(name).map(|&(_, bytes)| bytes)
    }

    /// The named modules and all they depend on, by name; what is built in is left out.
    ///
    /// # Errors
    /// When a name or a dependency is neither a module nor built in.
    pub fn closure<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<BTreeMap<String, Module>, Error> {
        let mut taken = BTreeMap::new();
        let mut todo: Vec<String> = names.into_iter().map(normal).collect();
        while let Some(name) = todo.pop() {
            if taken.contains_key(&name) || self.builtin.contains(&name) {
                continue;
            }
            let module = self.read(&name)?;
            todo.extend(module.depends.iter().cloned());
            // a soft dependency may name an alias or something this kernel lacks: taken only when it is a module
            todo.extend(soft(&module).filter(|name| self.files.contains_key(name)));
            taken.insert(name, module);
        }
        Ok(taken)
    }

    fn read(&self, name: &str) -> Result<Module, Error> {
        let &(path, bytes) = self.files.get(name).ok_or_else(|| Error::Unknown { name: name.to_owned() })?;
        let damaged = |cause| Error::Damaged { name: name.to_owned(), cause };
        let mut elf = Vec::new();
        if path.ends_with(".xz") {
            lzma_rust2::XzReader::new(bytes, false).read_to_end(&mut elf).map_err(|cause| damaged(cause.into()))?;
        } else {
            elf.extend_from_slice(bytes);
        }
        let info = elf::section(&elf, ".modinfo").map_err(|cause| damaged(cause.into()))?.unwrap_or_default();
        Ok(parse(path, info))
    }

    /// The index files: `modules.dep`, `modules.alias`, `modules.softdep`, `modules.builtin`, in the format of depmod,
    /// with only the modules taken.
    #[must_use]
    pub fn index(&self, taken: &BTreeMap<String, Module>) -> Vec<(&'static str, String)> {
        let (mut dep, mut alias, mut softdep) = (String::new(), String::new(), String::new());
        for (name, module) in taken {
            let _ = write!(dep, "{}:", module.path);
            for needed in order(taken, name).iter().rev().filter(|needed| *needed != name) {
                let _ = write!(dep, " {}", taken[needed].path);
            }
            dep.push('\n');
            for pattern in &module.aliases {
                let _ = writeln!(alias, "alias {pattern} {name}");
            }
            for line in &module.softdeps {
                let _ = writeln!(softdep, "softdep {name} {line}");
            }
        }
        vec![
            ("modules.dep", dep),
            ("modules.alias", alias),
            ("modules.softdep", softdep),
            ("modules.builtin", self.builtin_list.clone()),
        ]
    }
}

/// The order in which to load a module: its dependencies (and soft ones that go before it) first, itself last.
#[must_use]
pub fn order(taken: &BTreeMap<String, Module>, name: &str) -> Vec<String> {
    fn visit(taken: &BTreeMap<String, Module>, name: &str, order: &mut Vec<String>, seen: &mut BTreeSet<String>) {
        let Some(module) = taken.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        for needed in &module.depends {
            visit(taken, needed, order, seen);
        }
        order.push(name.to_owned());
    }
    let (mut result, mut seen) = (Vec::new(), BTreeSet::new());
    visit(taken, name, &mut result, &mut seen);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(depends: &[&str]) -> Module {
        Module { depends: depends.iter().map(|name| (*name).to_owned()).collect(), ..Module::default() }
    }

    #[test]
    fn dependencies_come_first() {
        let taken = [("a", &["b", "c"][..]), ("b", &["c"]), ("c", &["a"])]
            .map(|(name, depends)| (name.to_owned(), module(depends)))
            .into();
        assert_eq!(order(&taken, "a"), ["c", "b", "a"]);
        assert!(order(&taken, "unknown").is_empty());
    }

    fuzz::targets! {
        // A module file without compression.
        module_info: |bytes| {
            if let Ok(Some(info)) = elf::section(bytes, ".modinfo") {
                let _ = soft(&parse("a.ko", info)).count();
            }
            let _ = soft(&parse("a.ko", bytes)).count();
        },
    }
}
