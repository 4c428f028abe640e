//! A machine that a story is told with: it runs, its API answers, and `chaos` can be asked. One story's own, or shared.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::{
    apictl::Apictl,
    chaos::Chaos,
    vm::{EmulatorHang, Spec, Vm},
};

/// How much of the console is shown when a story fails.
const TAIL: usize = 50;

/// A machine whose API has answered.
pub struct Machine {
    /// The emulator, the console, the monitor.
    pub vm: Vm,
    /// The client, with the console's fingerprint pinned.
    pub apictl: Apictl,
}

impl Machine {
    /// Boots a machine until its API answers.
    pub fn boot(spec: &Spec) -> Result<Self> {
        let vm = Vm::boot_to(spec, "stele: api ready")?;
        let apictl = Apictl::of(&vm)?;
        Ok(Self { vm, apictl })
    }

    /// The wire to `chaos`.
    pub fn chaos(&self) -> Result<Chaos> {
        Chaos::of(&self.vm)
    }

    /// Waits until the API answers after something took it away.
    pub fn wait_api(&self) -> Result<()> {
        self.apictl.wait_for("machine", "machine", "the API to answer", |_| true).map(drop)
    }

    /// The boot record, once it is known how the last boot ended; that takes until the system disk is found.
    pub fn boot_record(&self) -> Result<Value> {
        self.apictl.wait_for("boot-record", "boot", "the record to say how the last boot ended", |record| {
            record["value"]["last"]["ended"].as_str().is_some_and(|ended| !ended.is_empty() && ended != "unknown")
        })
    }

    /// Waits until the system disk is chosen for good: for some seconds after its start a machine still looks for another.
    pub fn wait_system_disk(&self) -> Result<Value> {
        self.apictl.wait_for("system-disk", "system-disk", "the system disk to be found", |disk| {
            disk["value"]["state"] == "found" && disk["value"]["guids"] == "unique"
        })
    }

    /// Waits until the drivers of all devices are loaded; those that the API does not need come last.
    pub fn wait_drivers(&self) -> Result<()> {
        let all = |coldplug: &Value| coldplug["value"]["stage"] == "all";
        self.apictl.wait_for("coldplug", "coldplug", "all drivers", all).map(drop)
    }

    /// Pid of each service that runs, by name.
    pub fn pids(&self) -> Result<Vec<(String, u64)>> {
        let services = self.apictl.list("services")?;
        let pid = |service: &Value| Some((service["id"].as_str()?.to_owned(), service["value"]["pid"].as_u64()?));
        Ok(services.iter().filter_map(pid).collect())
    }
}

/// Tells a story with a machine of its own; a failure shows the end of its console.
pub fn with<T>(spec: &Spec, story: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
    let mut machine = Machine::boot(spec)?;
    told(&mut machine, story)
}

/// The same with one that runs already.
///
/// # Errors
/// The story's, with the end of the console.
pub fn told<T>(machine: &mut Machine, story: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
    story(machine).map_err(|error| {
        // As it is: the story is told once more.
        if error.is::<EmulatorHang>() {
            return error;
        }
        if machine.vm.is_hung() {
            return EmulatorHang { console: machine.vm.console.tail(TAIL) }.into();
        }
        anyhow!("{error:#}\nthe console ends with:\n{}", machine.vm.console.tail(TAIL))
    })
}

/// A machine that several stories share, one after the other. The first of them boots it.
pub struct Shared {
    spec: fn() -> Result<Spec>,
    machine: Mutex<Option<Machine>>,
}

impl Shared {
    /// One that is not booted yet.
    pub const fn new(spec: fn() -> Result<Spec>) -> Self {
        Self { spec, machine: Mutex::new(None) }
    }

    /// Tells a story with it. After one that failed the next gets a new machine.
    pub fn with<T>(&self, story: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
        let mut place = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut machine = match place.take() {
            Some(machine) => machine,
            None => Machine::boot(&(self.spec)()?)?,
        };
        let done = told(&mut machine, story)?;
        *place = Some(machine);
        Ok(done)
    }

    /// Ends it.
    pub fn stop(&self) {
        *self.machine.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
