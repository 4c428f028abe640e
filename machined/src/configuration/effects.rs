//! What a change takes on this machine, where the documents alone do not tell: parameters of a kernel module count when it is
//! loaded, unless the kernel lets them be written.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use config::kinds::KernelModule;
use config::{Action, Change, Documents, Effect};

use crate::controllers::system::same;

/// Modules that are there.
const MODULES: &str = "/sys/module";

/// The changes from one set of documents to another, with what each takes here.
pub(super) fn changes(before: &Documents, after: &Documents) -> Vec<Change> {
    changes_by(Path::new(MODULES), before, after)
}

fn changes_by(modules: &Path, before: &Documents, after: &Documents) -> Vec<Change> {
    let mut changes = config::changes(before, after);
    let module = |documents: &'_ Documents, id: &str| -> Option<KernelModule> {
        documents.of::<KernelModule>().find(|(document, _)| document.id() == id).map(|(_, module)| module.clone())
    };
    for change in changes.iter_mut().filter(|change| change.action != Action::Removed) {
        let Some(wanted) = module(after, &change.id) else { continue };
        let name = change.id.split_once('/').map_or("", |(_, name)| name).replace('-', "_");
        let there = modules.join(name);
        let late = |key: &String, wanted: &str| {
            let path = there.join("parameters").join(key.replace('-', "_"));
            let now = std::fs::read_to_string(&path);
            let is_so = now.is_ok_and(|now| same(now.trim_end(), wanted));
            let writable = std::fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o200 != 0);
            !is_so && !writable
        };
        // What a parameter was before it was given nobody knows.
        let had = module(before, &change.id).map(|module| module.parameters).unwrap_or_default();
        let gone = had.keys().any(|key| !wanted.parameters.contains_key(key));
        let reboot = there.is_dir() && (gone || wanted.parameters.iter().any(|(key, value)| late(key, &value.0)));
        change.effect = if reboot { Effect::Reboot } else { Effect::Live };
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_module_that_is_there_take_a_reboot_unless_they_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let parameters = folder.path().join("dummy/parameters");
        std::fs::create_dir_all(&parameters).unwrap();
        for (name, mode) in [("fixed", 0o444), ("free", 0o644), ("truth", 0o444)] {
            std::fs::write(parameters.join(name), if name == "truth" { "Y\n" } else { "1\n" }).unwrap();
            std::fs::set_permissions(parameters.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let document = |name: &str, parameters: &str| {
            let text = format!("apiVersion: stele/v1\nkind: KernelModule\nname: {name}\nparameters: {parameters}\n");
            config::parse(&text).unwrap().documents
        };
        let none = Documents::default();
        for (name, before, after, effect) in [
            ("dummy", None, "{fixed: 2}", Effect::Reboot),
            ("dummy", None, "{fixed: 1}", Effect::Live),
            ("dummy", None, "{unseen: 1}", Effect::Reboot),
            ("dummy", Some("{free: 1}"), "{free: 2}", Effect::Live),
            ("dummy", Some("{}"), "{free: 2, fixed: 2}", Effect::Reboot),
            ("dummy", None, "{truth: 1}", Effect::Live),
            ("dummy", Some("{free: 1}"), "{}", Effect::Reboot),
            ("other", None, "{fixed: 2}", Effect::Live),
        ] {
            let before = before.map_or_else(|| none.clone(), |before| document(name, before));
            let after = document(name, after);
            let changes = changes_by(folder.path(), &before, &after);
            assert_eq!(changes[0].effect, effect, "{changes:?}");
        }
        // What is taken away stays until the next boot.
        let gone = changes_by(folder.path(), &document("dummy", "{}"), &none);
        assert_eq!(gone[0].effect, Effect::Reboot);
    }
}
