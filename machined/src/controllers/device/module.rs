//! The controller that loads drivers: one walk over /sys at its start, then the kernel's events.
//!
//! Invariant: network and disk drivers are loaded before anything else; the rest waits until the API answers, or until
//! [`PATIENCE`] is over. One module at a time: the kernel checks signatures on one processor anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use sys::module::Loaded;
use sys::uevent::Message;

use super::catalog::Catalog;
use super::class::Class;
use super::host::Host;
use super::queue::Queue;
use crate::events::Events;
use crate::resources::coldplug::{Coldplug, Stage};
use crate::resources::condition::Condition;
use crate::resources::kernel_module::KernelModule;
use crate::resources::system_disk::{State, SystemDisk};
use crate::resources::wait::{self, For, Wait};
use crate::trace::chain;
use crate::uevent::{Batch, Listener};
use crate::uptime;

/// After this uptime the rest is loaded without an answer of the API.
const PATIENCE: Duration = wait::DRIVERS;

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
    pub(super) fn new(host: Host, modules: PathBuf, listener: Listener, events: Events) -> Self {
        let catalog = Catalog::load(&modules).unwrap_or_else(|error| {
            events.error("device", chain(&error));
            Catalog::default()
        });
        let (queue, ours) = (Queue::default(), BTreeMap::new());
        Self { host, events, listener, catalog, queue, walked: false, answered: false, ours }
    }

    /// Devices that carry a modalias.
    pub(super) fn wants(message: &Message<'_>) -> bool {
        message.get("MODALIAS").is_some() && matches!(message.action, "add" | "change")
    }

    async fn look(&mut self) {
        let Batch { lost, events } = self.listener.read();
        if lost || !self.walked {
            let host = self.host.clone();
            // Failing means that the runtime is stopping.
            let Ok(found) = tokio::task::spawn_blocking(move || host.modaliases()).await else { return };
            for modalias in found {
                self.queue.device(&modalias, false, &self.catalog);
            }
            // Its variables say from which disk the machine was started.
            if !self.walked && self.host.is_efi() && self.catalog.has("efivarfs") {
                self.queue.want("efivarfs", "the firmware is UEFI", &self.catalog);
            }
            self.walked = true;
        }
        for modalias in events.iter().filter_map(|event| event.modalias.as_deref()) {
            self.queue.device(modalias, true, &self.catalog);
        }
    }

    /// Loads everything up to a class, and what appears meanwhile.
    async fn load_up_to(&mut self, open: Class) -> Result<(), Error> {
        while let Some((name, reason)) = self.queue.next(open) {
            let loaded: BTreeSet<String> = self.host.loaded().map_err(Error::List)?.into_keys().collect();
            for part in self.catalog.order(&name, &loaded) {
                let reason = if part == name { reason.clone() } else { format!("needed by {name}") };
                if let Err(error) = self.load(&part, reason).await {
                    self.fail(&name, &part, &error);
                    break;
                }
            }
            self.look().await;
        }
        Ok(())
    }

    async fn load(&mut self, name: &str, reason: String) -> Result<(), sys::module::Error> {
        let Some(path) = self.catalog.file(name) else { return Ok(()) };
        let load = self.host.load;
        let start = Instant::now();
        // Not joining means that the runtime is stopping.
        let result = tokio::task::spawn_blocking(move || load(&path)).await.unwrap_or(Ok(Loaded::Before))?;
        if result == Loaded::Now {
            self.ours.insert(name.into(), (reason, start.elapsed()));
        }
        Ok(())
    }

    /// A driver that finds no device is no fault: all drivers of a processor's features are tried.
    fn fail(&mut self, name: &str, part: &str, error: &sys::module::Error) {
        let why = if part == name { chain(error) } else { format!("{part}, which it needs: {}", chain(error)) };
        if self.queue.fail(name, why.clone()) && !error.no_device() {
            self.events.warn("device", format!("kernel module {name} was not loaded: {why}"));
        }
    }

    /// Up to which class modules may be loaded now, and when that may change by itself.
    fn open(&mut self, cx: &mut Cycle<'_>) -> Result<(Class, Option<Duration>), CycleError> {
        let left = PATIENCE.saturating_sub(Duration::from_millis(uptime::now_ms()));
        self.answered |= cx.get::<Condition>(Condition::API)?.is_some_and(|api| api.value.met);
        if self.answered || left.is_zero() {
            return Ok((Class::Rest, None));
        }
        let disk = cx.get::<SystemDisk>(SystemDisk::ID)?;
        let waiting = disk.is_some_and(|disk| disk.value.state == State::Waiting);
        Ok((if waiting { Class::Removable } else { Class::Storage }, Some(left)))
    }

    fn put(&self, cx: &mut Cycle<'_>, stage: Stage) -> Result<(), Error> {
        for (name, mut module) in self.host.loaded().map_err(Error::List)? {
            if let Some((reason, time)) = self.ours.get(&name) {
                module.reason.clone_from(reason);
                module.load_ms = u64::try_from(time.as_millis()).ok();
            }
            cx.put::<KernelModule>(&name, module)?;
        }
        let load_ms = self.ours.values().map(|(_, time)| time).sum::<Duration>().as_millis();
        let coldplug = Coldplug {
            stage,
            loaded: self.ours.len() as u64,
            failed: self.queue.failures(),
            load_ms: u64::try_from(load_ms).unwrap_or(u64::MAX),
        };
        Ok(cx.put::<Coldplug>(Coldplug::ID, coldplug)?)
    }
}

impl Controller for Module {
    const NAME: &'static str = "device/module";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        ports.watch::<Condition>().watch::<SystemDisk>().own::<KernelModule>().own::<Coldplug>();
        ports.share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        self.look().await;
        // Network first: its stage is told before the disks' drivers cost their time.
        for class in [Class::Network, Class::Storage] {
            self.load_up_to(class).await?;
            self.put(cx, self.queue.stage(class))?;
        }
        let (open, again) = self.open(cx)?;
        if again.is_some() {
            cx.put::<Wait>(For::Drivers.id(), For::Drivers.wait("the API has not answered yet", 0))?;
        }
        self.load_up_to(open).await?;
        self.put(cx, self.queue.stage(open))?;
        Ok(again.map_or(Next::OnChange, |left| Next::After(left + Duration::from_millis(1))))
    }

    async fn wake(&mut self) {
        self.listener.heard().await;
    }
}
