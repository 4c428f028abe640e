//! The controller that loads drivers: one walk over /sys at its start, then the kernel's events.
//!
//! Invariant: network drivers are loaded first, then those of disks until the machine's own is found; the rest waits until
//! the API answers, or until [`PATIENCE`] is over. One module at a time: the kernel checks signatures on one processor anyway.
//! A driver that hangs holds up the others for the loader's limit only; then it counts as failed, until it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use sys::module::Loaded;
use sys::uevent::Message;
use tokio::sync::watch;

use super::catalog::Catalog;
use super::class::Class;
use super::host::Host;
use super::loader::{self, Loader, Returned};
use super::queue::{Queue, Wanted};
use crate::blocking;
use crate::events::Events;
use crate::resources::coldplug::{Coldplug, Stage};
use crate::resources::condition::Condition;
use crate::resources::config_source::{self, ConfigSource};
use crate::resources::kernel_module::{KernelModule, KernelModuleSpec};
use crate::resources::system_disk::{State, SystemDisk};
use crate::resources::wait::{self, For, Wait};
use crate::state::{self, Needs, Wishes};
use crate::trace::chain;
use crate::uevent::{Batch, Listener};

/// After this uptime the rest is loaded without an answer of the API.
const PATIENCE: Duration = wait::DRIVERS;
/// A load that takes longer is shown as a wait: most take a tenth of a second.
const SLOW: Duration = Duration::from_secs(2);

/// The controller.
#[derive(Debug)]
pub(super) struct Module {
    host: Host,
    events: Events,
    listener: Listener,
    catalog: Catalog,
    queue: Queue,
    walked: bool,
    /// The API has answered once: from then on drivers are loaded as devices come.
    answered: bool,
    ours: BTreeMap<String, (String, Duration)>,
    loader: Loader,
    /// Not loaded because this module hangs, or because too many do.
    held: Vec<(Option<String>, Wanted)>,
    /// A wait for a load that is over may still be shown.
    shown: bool,
    /// What other controllers want, by its id, as it was at the last look.
    specs: BTreeMap<String, KernelModuleSpec>,
    wishes: watch::Receiver<Wishes>,
    needs: watch::Receiver<Needs>,
}

/// Why a cycle failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read the list of kernel modules")]
    List(#[source] std::io::Error),
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

impl Module {
    /// `modules`: the folder of the running kernel's modules.
    pub(super) fn new(host: Host, modules: PathBuf, listener: Listener, events: Events, state: &state::Handle) -> Self {
        let catalog = Catalog::load(&modules).unwrap_or_else(|error| {
            events.error("device", chain(&error));
            Catalog::default()
        });
        let (queue, ours, loader) = (Queue::default(), BTreeMap::new(), Loader::new(host.load));
        let (walked, answered, held, shown, specs) = (false, false, Vec::new(), false, BTreeMap::new());
        let (wishes, needs) = (state.wishes(), state.needs());
        Self {
            host,
            events,
            listener,
            catalog,
            queue,
            walked,
            answered,
            ours,
            loader,
            held,
            shown,
            specs,
            wishes,
            needs,
        }
    }

    /// Devices that carry a modalias.
    pub(super) fn wants(message: &Message<'_>) -> bool {
        message.get("MODALIAS").is_some() && matches!(message.action, "add" | "change")
    }

    async fn look(&mut self) {
        let Batch { lost, events } = self.listener.read();
        if lost || !self.walked {
            let host = self.host.clone();
            let found = blocking::run(move || host.modaliases()).await;
            for modalias in found {
                self.queue.device(&modalias, false, &self.catalog);
            }
            // Its variables say from which disk the machine was started.
            if !self.walked && self.host.is_efi() && self.catalog.has("efivarfs") {
                self.queue.want("efivarfs", "the firmware is UEFI", &self.catalog);
            }
            self.walked = true;
        }
        let needs = self.needs.borrow_and_update().clone();
        for name in needs.modules.into_iter().filter(|name| self.catalog.has(name)) {
            self.queue.need(name, "a file system of the system disk", &self.catalog);
        }
        for modalias in events.iter().filter_map(|event| event.modalias.as_deref()) {
            self.queue.device(modalias, true, &self.catalog);
        }
    }

    /// Modules that other controllers want. One that failed is tried again when its wish is changed.
    fn ask(&mut self, cx: &mut Cycle<'_>) -> Result<(), CycleError> {
        let specs = cx.list::<KernelModuleSpec>()?.into_iter().map(|spec| (spec.id, (*spec.value).clone()));
        let specs: BTreeMap<_, _> = specs.collect();
        for (_, spec) in specs.iter().filter(|(id, spec)| self.specs.get(*id) != Some(*spec)) {
            if let Some(why) = self.catalog.refuses(&spec.name) {
                self.queue.fail(&spec.name, why);
            } else if self.catalog.has(&spec.name) {
                let class = if spec.early { Class::Network } else { Class::Rest };
                self.queue.want_as(class, &spec.name, &spec.reason, &self.catalog);
            }
        }
        self.specs = specs;
        Ok(())
    }

    /// The parameters others want for it.
    fn parameters(&self, name: &str) -> String {
        let of = self.specs.values().filter(|spec| spec.name == name).flat_map(|spec| &spec.parameters);
        let all: BTreeMap<_, _> = of.collect();
        // As the kernel takes them: `a=1 b="two words"`.
        let one = |(name, value): (&String, &String)| match value.contains(char::is_whitespace) {
            true => format!("{name}=\"{value}\""),
            false => format!("{name}={value}"),
        };
        all.into_iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// Loads what may be loaded, and what appears meanwhile. Asked before each module: what is loaded changes the answer.
    async fn load_open(&mut self, cx: &mut Cycle<'_>) -> Result<(), Error> {
        loop {
            let open = self.open(cx)?;
            self.put(cx, self.queue.stage(open))?;
            let Some(wanted) = self.queue.next(open) else { return Ok(()) };
            self.load_with_needs(cx, wanted).await?;
            self.look().await;
        }
    }

    async fn load_with_needs(&mut self, cx: &mut Cycle<'_>, wanted: Wanted) -> Result<(), Error> {
        let mut loaded: BTreeSet<String> = self.host.loaded().map_err(Error::List)?.into_keys().collect();
        // The kernel lists a module from the start of its load on.
        loaded.retain(|name| !self.loader.hanging().contains_key(name));
        for part in self.catalog.order(&wanted.name, &loaded) {
            if wanted.class > self.open(cx)? {
                self.queue.put_back(wanted);
                return Ok(());
            }
            let reason = if part == wanted.name { &wanted.reason } else { &format!("needed by {}", wanted.name) };
            if let Err(error) = self.load(cx, &part, reason.clone()).await? {
                self.fail(&wanted.name, &part, &error);
                match error {
                    loader::Error::Kernel(_) => {}
                    loader::Error::Hangs => self.held.push((Some(part), wanted)),
                    loader::Error::Full => self.held.push((None, wanted)),
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// As if events had been lost: the next cycle walks over /sys again.
    #[cfg(test)]
    pub(super) fn forget_walk(&mut self) {
        self.walked = false;
    }

    async fn load(
        &mut self,
        cx: &mut Cycle<'_>,
        name: &str,
        reason: String,
    ) -> Result<Result<(), loader::Error>, CycleError> {
        let Some(path) = self.catalog.file(name) else { return Ok(Ok(())) };
        let mut load = match self.loader.begin(name, path, self.parameters(name)) {
            Ok(load) => load,
            Err(error) => return Ok(Err(error)),
        };
        let soon = SLOW.min(self.host.limit);
        let mut done = load.within(soon).await;
        if done.is_none() {
            let wait = For::Driver(name).wait("its driver is slow", load.since_ms);
            cx.put::<Wait>(For::Driver(name).id(), wait)?;
            self.shown = true;
            done = load.within(self.host.limit.saturating_sub(soon)).await;
        }
        Ok(match done {
            Some(Ok(Loaded::Now)) => {
                self.ours.insert(name.into(), (reason, load.took()));
                Ok(())
            }
            Some(result) => result.map(drop),
            None => {
                self.loader.leave(load);
                if self.loader.is_full() {
                    let names = self.loader.hanging().keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    let text = format!("the drivers {names} hang: no more are loaded until one of them returns");
                    self.events.error("device", text);
                }
                Err(loader::Error::Hangs)
            }
        })
    }

    /// A driver that hung has returned: what waited for it may be loaded.
    fn go_on(&mut self, returned: Returned) {
        let Returned { name, took, result } = returned;
        self.events.warn("device", format!("kernel module {name}, which hung, returned after {} s", took.as_secs()));
        let error = match result {
            Ok(_) => {
                self.ours.insert(name.clone(), ("it hung before".into(), took));
                None
            }
            Err(error) => Some(loader::Error::Kernel(error)),
        };
        for (because, wanted) in std::mem::take(&mut self.held) {
            match (&because, &error) {
                (Some(part), Some(error)) if *part == name => self.fail(&wanted.name, &name, error),
                (Some(part), _) if *part != name => self.held.push((because, wanted)),
                _ => self.queue.retry(wanted),
            }
        }
    }

    /// A driver that finds no device is no fault: all drivers of a processor's features are tried.
    fn fail(&mut self, name: &str, part: &str, error: &loader::Error) {
        let why = if part == name { chain(error) } else { format!("{part}, which it needs: {}", chain(error)) };
        if self.queue.fail(name, why.clone()) && error.is_news() {
            self.events.warn("device", format!("kernel module {name} was not loaded: {why}"));
        }
    }

    /// Up to which class modules may be loaded now. On a machine whose own disk is found, disks of others wait as well: each
    /// driver costs time before the API's answer.
    fn open(&mut self, cx: &mut Cycle<'_>) -> Result<Class, CycleError> {
        self.answered |= cx.get::<Condition>(Condition::API)?.is_some_and(|api| api.value.met);
        // Who configures waits for the choice of the disk to be final, which waits for all drivers.
        if self.answered || self.left().is_zero() || self.wishes.borrow_and_update().open > 0 {
            return Ok(Class::Rest);
        }
        // A NoCloud disk may be on any controller, and in any optical drive: maintenance waits for the answer.
        let searched =
            cx.list::<ConfigSource>()?.iter().any(|source| source.value.state == config_source::State::Looking);
        Ok(match cx.get::<SystemDisk>(SystemDisk::ID)?.map(|disk| disk.value.state) {
            Some(State::Waiting) => Class::Removable,
            _ if searched => Class::Optical,
            // Its API needs what is on STATE, and that is written to only when no other disk fits.
            Some(State::Found) if self.needs.borrow().disks => Class::Storage,
            Some(State::Found) => Class::Network,
            _ => Class::Storage,
        })
    }

    /// What is left of the wait for the API.
    fn left(&self) -> Duration {
        PATIENCE.saturating_sub(Duration::from_millis((self.host.uptime_ms)()))
    }

    fn put(&self, cx: &mut Cycle<'_>, stage: Stage) -> Result<(), Error> {
        let loaded = self.host.loaded().map_err(Error::List)?;
        // One that is not known is built in, or of another kernel: who wants it will see.
        let done = |name: &str| {
            let hangs = self.loader.hanging().contains_key(name);
            hangs || loaded.contains_key(name) || self.queue.has_failed(name) || !self.catalog.has(name)
        };
        let seen_to = self.specs.values().map(|spec| spec.name.clone()).filter(|name| done(name)).collect();
        for (name, mut module) in loaded {
            if let Some((reason, time)) = self.ours.get(&name) {
                module.reason.clone_from(reason);
                module.load_ms = u64::try_from(time.as_millis()).ok();
            }
            let spec = self.specs.values().filter(|spec| spec.name == name).find_map(|spec| spec.origin.clone());
            module.origin = spec;
            cx.put::<KernelModule>(&name, module)?;
        }
        let load_ms = self.ours.values().map(|(_, time)| time).sum::<Duration>().as_millis();
        let coldplug = Coldplug {
            stage,
            loaded: self.ours.len() as u64,
            failed: self.queue.failures(),
            seen_to,
            load_ms: u64::try_from(load_ms).unwrap_or(u64::MAX),
        };
        Ok(cx.put::<Coldplug>(Coldplug::ID, coldplug)?)
    }
}

impl Controller for Module {
    const NAME: &'static str = "device/module";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        ports
            .watch::<Condition>()
            .watch::<SystemDisk>()
            .watch::<KernelModuleSpec>()
            .watch::<ConfigSource>()
            .own::<KernelModule>()
            .own::<Coldplug>();
        ports.share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        self.shown = false;
        self.look().await;
        self.ask(cx)?;
        self.load_open(cx).await?;
        for (name, since) in self.loader.hanging() {
            let wait = For::Driver(name).wait("its driver hangs; the others are loaded without it", *since);
            cx.put::<Wait>(For::Driver(name).id(), wait)?;
        }
        let left = self.left();
        let rest = if self.answered || left.is_zero() {
            Next::OnChange
        } else {
            cx.put::<Wait>(For::Drivers.id(), For::Drivers.wait("the API has not answered yet", 0))?;
            Next::After(left + Duration::from_millis(1))
        };
        // Once more at once: only a cycle that does not put a wait removes it.
        Ok(if self.shown { Next::After(Duration::ZERO) } else { rest })
    }

    async fn wake(&mut self) {
        tokio::select! {
            () = self.listener.heard() => {}
            // Cancel-safe: it is handled before anything is awaited.
            returned = self.loader.returned() => self.go_on(returned),
            // Their senders live as long as the machine.
            Ok(()) = self.wishes.changed() => {}
            Ok(()) = self.needs.changed() => {}
        }
    }
}
