//! Kernel modules that documents ask for: shown as specs, which `device/module` loads; and what came of it. Parameters that a
//! loaded module lets change are changed; the others count when it is loaded.

use std::fs;
use std::io;
use std::path::PathBuf;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::documents;
use crate::resources::Condition;
use crate::resources::coldplug::Coldplug;
use crate::resources::kernel_module::{KernelModule, KernelModuleSpec};

/// Why documents were not looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `system/module`.
pub(super) struct Modules {
    /// /sys/module.
    sys: PathBuf,
}

impl Modules {
    pub(super) fn new(sys: impl Into<PathBuf>) -> Self {
        Self { sys: sys.into() }
    }

    /// Why a module is not as its document wants; empty when it is.
    fn why_not(&self, name: &str, spec: &KernelModuleSpec, loaded: bool, coldplug: &Coldplug) -> String {
        // What is built in is there without being loaded; without parameters it has no folder, either.
        if !loaded && !self.sys.join(name).is_dir() {
            let prefix = format!("{name}: ");
            let why = coldplug.failed.iter().find_map(|failed| failed.strip_prefix(&prefix));
            return match why {
                Some(why) => format!("it is not loaded: {why}"),
                None if coldplug.seen_to.iter().any(|done| done == name) && spec.parameters.is_empty() => String::new(),
                None if coldplug.seen_to.iter().any(|done| done == name) => {
                    "it is built into the kernel and takes no parameters: take them out of the document".into()
                }
                None => "it is not loaded yet".into(),
            };
        }
        let wrong = spec.parameters.iter().filter_map(|(key, value)| self.ensure(name, key, value).err());
        wrong.collect::<Vec<_>>().join("; ")
    }

    /// A parameter of a module that is there.
    fn ensure(&self, name: &str, key: &str, value: &str) -> Result<(), String> {
        let path = self.sys.join(name).join("parameters").join(key.replace('-', "_"));
        let read = || fs::read_to_string(&path).map(|text| text.trim_end().to_owned());
        match read() {
            Ok(now) if same(&now, value) => Ok(()),
            Ok(now) => {
                let write = |error: io::Error| match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        format!("{key} is {now} and can only be given when it is loaded: reboot")
                    }
                    _ => format!("{key} stays {now}: {error}"),
                };
                let file = fs::OpenOptions::new().write(true).open(&path);
                file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes())).map_err(write)
            }
            // It is shown nowhere: the kernel has taken it, or has logged that it did not know it.
            Err(_) => Ok(()),
        }
    }
}

/// Whether a parameter is as wanted: the kernel shows truth as Y and N.
pub fn same(now: &str, wanted: &str) -> bool {
    let truth = |text: &str| match text {
        "1" | "y" | "Y" | "on" => Some(true),
        "0" | "n" | "N" | "off" => Some(false),
        _ => None,
    };
    now == wanted || (matches!(now, "Y" | "N") && truth(now) == truth(wanted))
}

impl Controller for Modules {
    const NAME: &'static str = "system/module";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        ports.watch::<KernelModule>().watch::<Coldplug>();
        ports.share::<KernelModuleSpec>().share::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let Some(documents) = documents::of::<config::kinds::KernelModule>(cx)? else { return Ok(Next::Unready) };
        let coldplug = cx.get::<Coldplug>(Coldplug::ID)?.map(|coldplug| (*coldplug.value).clone()).unwrap_or_default();
        for document in documents {
            let name = document.name.replace('-', "_");
            let parameters = document.body.parameters.into_iter().map(|(key, value)| (key, value.0)).collect();
            let origin = Some(document.origin.clone());
            let reason = format!("the document {}", document.origin.document);
            let spec = KernelModuleSpec { name: name.clone(), parameters, early: false, reason, origin };
            let loaded = cx.get::<KernelModule>(&name)?.is_some_and(|module| module.value.state == "live");
            documents::tell(cx, &document.origin, &self.why_not(&name, &spec, loaded, &coldplug))?;
            cx.put(format!("system/{name}"), spec)?;
        }
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reconcile::{Store, run_cycle};
    use serde_json::json;

    use super::*;
    use crate::controllers::system::tests_support::{decide, document, undecided};

    fn why(store: &Store) -> String {
        let condition = store.get::<Condition>("document/KernelModule/br-netfilter").unwrap().value;
        if condition.met { String::new() } else { condition.reason.clone() }
    }

    #[tokio::test]
    async fn a_module_is_wanted_and_its_condition_says_what_came_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new();
        let mut controller = Modules::new(dir.path());
        undecided(&store);
        assert_eq!(run_cycle(&mut controller, &store).await, Ok(Next::Unready));

        decide(&store, &[document("KernelModule", "br-netfilter", json!({ "parameters": { "a": "1", "b": 2 } }))]);
        run_cycle(&mut controller, &store).await.unwrap();
        let spec = store.get::<KernelModuleSpec>("system/br_netfilter").unwrap().value;
        assert_eq!(spec.parameters, BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
        assert!(why(&store).ends_with("it is not loaded yet"));

        let failed = vec!["br_netfilter: the image has no such module".to_owned()];
        let seen_to = vec!["br_netfilter".to_owned()];
        let coldplug = store.writer::<Coldplug>("test").unwrap();
        coldplug.put(Coldplug::ID, Coldplug { failed, seen_to: seen_to.clone(), ..Coldplug::default() });
        run_cycle(&mut controller, &store).await.unwrap();
        assert!(why(&store).ends_with("it is not loaded: the image has no such module"));

        // Built in, and it has no parameters: it shows nowhere.
        coldplug.put(Coldplug::ID, Coldplug { seen_to, ..Coldplug::default() });
        run_cycle(&mut controller, &store).await.unwrap();
        assert!(why(&store).ends_with("take them out of the document"), "{}", why(&store));
        coldplug.put(Coldplug::ID, Coldplug::default());
        run_cycle(&mut controller, &store).await.unwrap();
        assert!(why(&store).ends_with("it is not loaded yet"));

        // There, with a parameter that can be changed and one that shows its truth as a letter.
        let parameters = dir.path().join("br_netfilter/parameters");
        fs::create_dir_all(&parameters).unwrap();
        fs::write(parameters.join("a"), "Y\n").unwrap();
        fs::write(parameters.join("b"), "5\n").unwrap();
        run_cycle(&mut controller, &store).await.unwrap();
        assert_eq!(why(&store), "");
        assert!(fs::read_to_string(parameters.join("b")).unwrap().starts_with('2'));

        // One that cannot be written at all.
        fs::remove_file(parameters.join("b")).unwrap();
        fs::create_dir(parameters.join("b")).unwrap();
        run_cycle(&mut controller, &store).await.unwrap();
        decide(&store, &[]);
        run_cycle(&mut controller, &store).await.unwrap();
        assert!(store.list::<KernelModuleSpec>().is_empty() && store.list::<Condition>().is_empty());
    }
}
