//! The image's kernel modules: what there is, what drives which device, and in which order to load. Read once.
//!
//! Invariant: an order names each module once, dependencies before those that need them, whatever the files hold
//! (cycles too).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::alias::Aliases;
use super::class::{self, Class};

/// Never loaded, and why.
const DENIED: [(&str, &str); 1] =
    [("efi_pstore", "it writes each panic to the firmware's NVRAM, which bricks machines when it is full")];

/// The modules of one kernel release.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    dir: PathBuf,
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
    aliases: Aliases,
}

#[derive(Debug, Default)]
struct Module {
    path: PathBuf,
    needs: Vec<String>,
    before: Vec<String>,
    after: Vec<String>,
}

/// The image lacks a file that describes its modules.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: no module is loaded but those init loaded")]
pub(super) struct Error {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl Catalog {
    /// Reads `modules.dep` and `modules.alias`; `modules.softdep` and `modules.builtin` may be missing.
    pub(super) fn load(dir: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path).map_err(|source| Error { path, source })
        };
        let (dep, alias) = (read("modules.dep")?, read("modules.alias")?);
        let optional = |name| read(name).unwrap_or_default();
        Ok(Self::parse(dir, &dep, alias, &optional("modules.softdep"), &optional("modules.builtin")))
    }

    pub(super) fn parse(dir: &Path, dep: &str, alias: String, softdep: &str, builtin: &str) -> Self {
        let mut modules: BTreeMap<String, Module> = BTreeMap::new();
        for (path, needs) in dep.lines().filter_map(|line| line.split_once(':')) {
            let needs = needs.split_ascii_whitespace().map(name_of).collect();
            modules.insert(name_of(path), Module { path: path.into(), needs, ..Module::default() });
        }
        for line in softdep.lines() {
            soft(line, &mut modules);
        }
        let builtin = builtin.lines().map(name_of).collect();
        Self { dir: dir.into(), modules, builtin, aliases: Aliases::parse(alias) }
    }

    /// The modules that drive a device, without those built in, denied, or not in the image.
    pub(super) fn drivers(&self, modalias: &str) -> Vec<&str> {
        let known = |name: &&str| self.modules.contains_key(*name) && denied(name).is_none();
        self.aliases.matching(modalias).into_iter().filter(known).collect()
    }

    /// Whether the image has it as a module.
    pub(super) fn has(&self, name: &str) -> bool {
        self.modules.contains_key(name)
    }

    /// Why this can never be loaded; nothing for a module of the image and for what is built in.
    pub(super) fn refuses(&self, name: &str) -> Option<String> {
        if let Some(why) = denied(name) {
            return Some(format!("it is never loaded: {why}"));
        }
        let known = self.modules.contains_key(name) || self.builtin.contains(name);
        (!known).then(|| "the image has no such module".into())
    }

    /// When a module is loaded.
    pub(super) fn class(&self, name: &str) -> Class {
        self.modules.get(name).map_or(Class::Rest, |module| class::of(&module.path))
    }

    /// The file of a module.
    pub(super) fn file(&self, name: &str) -> Option<PathBuf> {
        self.modules.get(name).map(|module| self.dir.join(&module.path))
    }

    /// What to load so that `name` is there, in order; without what is `loaded`, built in or unknown.
    pub(super) fn order(&self, name: &str, loaded: &BTreeSet<String>) -> Vec<String> {
        let mut order = Vec::new();
        self.visit(name, loaded, &mut BTreeSet::new(), &mut order);
        order
    }

    fn visit(&self, name: &str, loaded: &BTreeSet<String>, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        if loaded.contains(name) || self.builtin.contains(name) || denied(name).is_some() {
            return;
        }
        let Some(module) = self.modules.get(name) else {
            // A soft dependency may be an alias: "crypto-crc32c".
            for driver in self.aliases.matching(name).into_iter().filter(|driver| self.modules.contains_key(*driver)) {
                if seen.insert(driver.to_owned()) {
                    self.visit(driver, loaded, seen, order);
                }
            }
            return;
        };
        seen.insert(name.to_owned());
        for need in module.before.iter().chain(&module.needs) {
            if seen.insert(need.clone()) {
                self.visit(need, loaded, seen, order);
            }
        }
        if !order.iter().any(|done| done == name) {
            order.push(name.to_owned());
        }
        for need in &module.after {
            if seen.insert(need.clone()) {
                self.visit(need, loaded, seen, order);
            }
        }
    }
}

fn denied(name: &str) -> Option<&'static str> {
    DENIED.iter().find(|(denied, _)| *denied == name).map(|(_, why)| *why)
}

/// `kernel/drivers/block/virtio-blk.ko.xz` is the module `virtio_blk`.
fn name_of(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

/// `softdep NAME pre: A B post: C`.
fn soft(line: &str, modules: &mut BTreeMap<String, Module>) {
    let mut words = line.split_ascii_whitespace();
    let (Some("softdep"), Some(name)) = (words.next(), words.next()) else { return };
    let Some(module) = modules.get_mut(&name.replace('-', "_")) else { return };
    let mut after = false;
    for word in words {
        match word {
            "pre:" => after = false,
            "post:" => after = true,
            // An alias keeps its hyphens: it is looked up as it is when no module has the name.
            _ if after => module.after.push(word.into()),
            _ => module.before.push(word.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn catalog(dep: &str, alias: &str, softdep: &str, builtin: &str) -> Catalog {
        Catalog::parse(Path::new("/m"), dep, alias.into(), softdep, builtin)
    }

    fn order(catalog: &Catalog, name: &str, loaded: &[&str]) -> Vec<String> {
        catalog.order(name, &loaded.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn dependencies_come_first_once_and_without_what_is_there() {
        let catalog = catalog(
            "kernel/net/virtio_net.ko.xz: kernel/net/net_failover.ko.xz kernel/core/failover.ko.xz\n\
             kernel/net/net_failover.ko.xz: kernel/core/failover.ko.xz\nkernel/core/failover.ko.xz:\n\
             kernel/fs/erofs/erofs.ko.xz:\nkernel/crypto/crc32c-intel.ko.xz:\nkernel/x/later.ko.xz:\n",
            "alias crypto-crc32c crc32c_intel\n",
            "softdep erofs pre: crypto-crc32c builtin_one nowhere post: later\n",
            "kernel/lib/builtin-one.ko\n",
        );
        assert_eq!(order(&catalog, "virtio_net", &[]), ["failover", "net_failover", "virtio_net"]);
        assert_eq!(order(&catalog, "virtio_net", &["failover"]), ["net_failover", "virtio_net"]);
        assert_eq!(order(&catalog, "erofs", &[]), ["crc32c_intel", "erofs", "later"]);
        assert_eq!(order(&catalog, "erofs", &["erofs"]), Vec::<String>::new());
        assert_eq!(catalog.file("crc32c_intel").unwrap(), Path::new("/m/kernel/crypto/crc32c-intel.ko.xz"));
    }

    #[test]
    fn only_modules_of_the_image_drive_and_efi_pstore_never() {
        let catalog = catalog(
            "kernel/a.ko:\nkernel/efi-pstore.ko:\n",
            "alias x:* a\nalias x:* missing\nalias x:* efi_pstore\n",
            "",
            "",
        );
        assert_eq!(catalog.drivers("x:1"), ["a"]);
        assert!(order(&catalog, "efi_pstore", &[]).is_empty());
    }

    proptest! {
        #[test]
        fn any_graph_gives_each_module_once(edges in proptest::collection::vec((0..6u8, 0..6u8, any::<bool>()), 0..20)) {
            let mut dep = String::new();
            let mut softdep = String::new();
            for from in 0..6u8 {
                let to = |soft| edges.iter().filter(move |e| e.0 == from && e.2 == soft).map(|e| e.1);
                let needs: Vec<_> = to(false).map(|m| format!("m{m}.ko")).collect();
                dep += &format!("m{from}.ko: {}\n", needs.join(" "));
                let after: Vec<_> = to(true).map(|m| format!("m{m}")).collect();
                softdep += &format!("softdep m{from} post: {}\n", after.join(" "));
            }
            let mut order = order(&catalog(&dep, "", &softdep, ""), "m0", &[]);
            prop_assert!(order.contains(&"m0".to_owned()));
            let length = order.len();
            order.sort();
            order.dedup();
            prop_assert_eq!(order.len(), length);
        }
    }

    fuzz::targets! {
        // modules.dep, .alias, .softdep and .builtin, and what a device says it is; separated by form feeds.
        module_catalog: |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let mut files = text.split('\x0c');
            let mut file = || files.next().unwrap_or_default();
            let catalog = catalog(file(), file(), file(), file());
            let modalias = file();
            for name in catalog.drivers(modalias).into_iter().chain(catalog.modules.keys().map(String::as_str).take(8)) {
                let mut order = order(&catalog, name, &[]);
                let length = order.len();
                order.sort();
                order.dedup();
                assert_eq!(order.len(), length, "a module is loaded twice");
            }
        },
    }
}
