//! What a change takes on this machine, where the documents alone do not tell: parameters of a kernel module count when it is
//! loaded, unless the kernel lets them be written.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use config::kinds::KernelModule;
use config::{Action, Change, Documents, Effect};

/// Modules that are there.
const MODULES: &str = "/sys/module";

/// Corrects the effects of these changes, which lead to `documents`.
pub(super) fn correct(changes: &mut [Change], documents: &Documents) {
    correct_by(Path::new(MODULES), changes, documents);
}

fn correct_by(modules: &Path, changes: &mut [Change], documents: &Documents) {
    for change in changes.iter_mut().filter(|change| change.action != Action::Removed) {
        let found = documents.of::<KernelModule>().find(|(document, _)| document.id() == change.id);
        let Some((document, module)) = found else { continue };
        let name = document.name.clone().unwrap_or_default().replace('-', "_");
        let there = modules.join(name);
        let late = |key: &String, wanted: &str| {
            let path = there.join("parameters").join(key.replace('-', "_"));
            let now = std::fs::read_to_string(&path);
            let is_so = now.is_ok_and(|now| now.trim_end() == wanted);
            let writable = std::fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o200 != 0);
            !is_so && !writable
        };
        let reboot = there.is_dir() && module.parameters.iter().any(|(key, value)| late(key, &value.0));
        change.effect = if reboot { Effect::Reboot } else { Effect::Live };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_module_that_is_there_take_a_reboot_unless_they_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let parameters = folder.path().join("dummy/parameters");
        std::fs::create_dir_all(&parameters).unwrap();
        for (name, mode) in [("fixed", 0o444), ("free", 0o644)] {
            std::fs::write(parameters.join(name), "1\n").unwrap();
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
            ("other", None, "{fixed: 2}", Effect::Live),
        ] {
            let before = before.map_or_else(|| none.clone(), |before| document(name, before));
            let after = document(name, after);
            let mut changes = config::changes(&before, &after);
            correct_by(folder.path(), &mut changes, &after);
            assert_eq!(changes[0].effect, effect, "{changes:?}");
        }
        // What is taken away stays until the next boot.
        let mut gone = config::changes(&document("dummy", "{}"), &none);
        correct_by(folder.path(), &mut gone, &none);
        assert_eq!(gone[0].effect, Effect::Reboot);
    }
}
