//! Asks for kernel modules that a task needs, and waits until they were seen to. Whoever then uses one says what is missing.

use std::collections::BTreeMap;

use reconcile::{ClaimError, SharedWriter, Store};
use tokio::time::timeout;

use crate::resources::coldplug::Coldplug;
use crate::resources::kernel_module::KernelModuleSpec;
use crate::resources::wait;

/// FAT's names are in the first code page, those of its long names in the others.
pub const VFAT: &[&str] = &["vfat", "nls_cp437", "nls_ascii", "nls_utf8"];
/// Discs.
pub const ISO9660: &[&str] = &["isofs"];

/// Asks in the name of one task.
#[derive(Debug)]
pub struct Drivers {
    name: &'static str,
    store: Store,
    writer: SharedWriter<KernelModuleSpec>,
}

impl Drivers {
    /// For the task of this name, which nobody else has.
    ///
    /// # Errors
    /// Somebody owns the type alone.
    pub fn new(store: &Store, name: &'static str) -> Result<Self, ClaimError> {
        Ok(Self { name, store: store.clone(), writer: store.shared_writer(name)? })
    }

    /// Has these loaded, for this reason. Returns when they were seen to, or one driver before them hangs.
    pub async fn load(&self, modules: &[&str], reason: &str) {
        let mut changes = self.store.watch::<Coldplug>();
        let id = |module: &str| format!("{}/{module}", self.name);
        for module in modules {
            let (name, parameters) = ((*module).to_owned(), BTreeMap::new());
            let spec = KernelModuleSpec { name, parameters, early: true, reason: reason.to_owned(), origin: None };
            // Nobody else has these ids.
            let _ = self.writer.put(id(module), spec);
        }
        let done =
            |coldplug: &Coldplug| modules.iter().all(|module| coldplug.seen_to.iter().any(|done| done == module));
        let loaded = async {
            while !self.store.get::<Coldplug>(Coldplug::ID).is_some_and(|coldplug| done(&coldplug.value)) {
                changes.changed().await;
            }
        };
        // One driver before ours may hang so long.
        let _ = timeout(wait::DRIVER, loaded).await;
        for module in modules {
            let _ = self.writer.remove(id(module));
        }
    }
}
