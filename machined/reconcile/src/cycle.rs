//! One cycle of a controller: its view of the store, fenced by its ports, and the sweep of what it no longer puts.
//!
//! Invariant: nothing outside of the declared ports is read or written, and nothing is swept unless the cycle ended
//! well. Called by the runtime, and by tests of controllers through [`run_cycle`].

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::controller::{Controller, Next};
use crate::ports::{Access, Ports};
use crate::resource::{Object, Resource};
use crate::store::{Store, WriteError};

/// A controller asked for what it may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CycleError {
    /// The type is not among its ports: a bug of the controller.
    #[error("{controller} may not {wanted} {type_name}: add `ports.{wanted}::<_>()` for it to its `declare`")]
    Undeclared {
        /// Who asked.
        controller: &'static str,
        /// For what.
        type_name: &'static str,
        /// The access that would allow it.
        wanted: Access,
    },
    /// The object belongs to somebody else.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What allows to read: whoever writes a type may look at what it wrote.
const READ: [Access; 4] = [Access::Watch, Access::Hold, Access::Own, Access::Share];
const WRITE: [Access; 2] = [Access::Own, Access::Share];

/// What a controller sees of the store during one cycle.
#[derive(Debug)]
pub struct Cycle<'a> {
    store: &'a Store,
    controller: &'static str,
    ports: &'a Ports,
    put: BTreeMap<&'static str, BTreeSet<String>>,
    /// Kept, so that a controller that drops the error does not go on as if nothing were wrong.
    broken: Option<CycleError>,
}

impl<'a> Cycle<'a> {
    fn new(store: &'a Store, controller: &'static str, ports: &'a Ports) -> Self {
        Self { store, controller, ports, put: BTreeMap::new(), broken: None }
    }

    /// The object of this id.
    ///
    /// # Errors
    /// When the type is not declared.
    pub fn get<R: Resource>(&mut self, id: impl AsRef<str>) -> Result<Option<Object<R>>, CycleError> {
        self.check::<R>(&READ)?;
        Ok(self.store.get(id.as_ref()))
    }

    /// All objects of the type, ordered by id; those that are being torn down too.
    ///
    /// # Errors
    /// When the type is not declared.
    pub fn list<R: Resource>(&mut self) -> Result<Vec<Object<R>>, CycleError> {
        self.check::<R>(&READ)?;
        Ok(self.store.list())
    }

    /// Makes the object an output of this cycle; seen at once. An equal value changes nothing. An object that is still
    /// being torn down is made anew when its holders have let go.
    ///
    /// # Errors
    /// When the type is not declared as owned or shared, or the object is somebody else's.
    pub fn put<R: Resource>(&mut self, id: impl AsRef<str>, value: R) -> Result<(), CycleError> {
        let id = id.as_ref();
        self.check::<R>(&WRITE)?;
        if let Err(error) = self.store.put(self.controller, id, value) {
            self.broken = Some(error.clone().into());
            return Err(error.into());
        }
        self.put.entry(R::TYPE).or_default().insert(id.to_owned());
        Ok(())
    }

    /// Keeps the object from vanishing until `release`: hold it before making anything of it that must be undone. False
    /// when it is not there or is already being torn down: then make nothing of it.
    ///
    /// # Errors
    /// When the type is not declared as held.
    pub fn hold<R: Resource>(&mut self, id: impl AsRef<str>) -> Result<bool, CycleError> {
        self.check::<R>(&[Access::Hold])?;
        Ok(self.store.hold::<R>(self.controller, id.as_ref()))
    }

    /// Lets go of the object; the last holder of one that is being torn down makes it vanish.
    ///
    /// # Errors
    /// When the type is not declared as held.
    pub fn release<R: Resource>(&mut self, id: impl AsRef<str>) -> Result<(), CycleError> {
        self.check::<R>(&[Access::Hold])?;
        self.store.release::<R>(self.controller, id.as_ref());
        Ok(())
    }

    /// Whether this controller holds the object.
    ///
    /// # Errors
    /// When the type is not declared as held.
    pub fn holds<R: Resource>(&mut self, id: impl AsRef<str>) -> Result<bool, CycleError> {
        self.check::<R>(&[Access::Hold])?;
        Ok(self.store.held::<R>(self.controller, id.as_ref()))
    }

    /// `any_of`: the accesses that allow it; the first is the one to declare.
    fn check<R: Resource>(&mut self, any_of: &[Access]) -> Result<(), CycleError> {
        if self.ports.allows(R::TYPE, any_of) {
            return Ok(());
        }
        let wanted = any_of.first().copied().unwrap_or(Access::Watch);
        let error = CycleError::Undeclared { controller: self.controller, type_name: R::TYPE, wanted };
        self.broken = Some(error.clone());
        Err(error)
    }

    fn sweep(self) {
        let none = BTreeSet::new();
        for port in self.ports.outputs() {
            let keep = self.put.get(port.type_name).unwrap_or(&none);
            (port.sweep)(self.store, self.controller, keep);
        }
    }
}

/// Why a cycle came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The controller's own error, with its causes.
    #[error("{0}")]
    Error(String),
    /// It panicked.
    #[error("panicked: {0}")]
    Panic(String),
    /// It asked for what it may not have, and went on.
    #[error(transparent)]
    Refused(#[from] CycleError),
}

/// Runs one cycle as the runtime does: fenced, panics caught, outputs swept if it ended well.
///
/// # Errors
/// When the controller fails, panics, or asks for what it did not declare.
pub async fn run_cycle<C: Controller>(controller: &mut C, store: &Store) -> Result<Next, Failure> {
    let mut ports = Ports::default();
    C::declare(&mut ports);
    run(controller, store, &ports).await
}

pub(crate) async fn run<C: Controller>(controller: &mut C, store: &Store, ports: &Ports) -> Result<Next, Failure> {
    let mut cycle = Cycle::new(store, C::NAME, ports);
    // After a panic the controller goes on with what it has: it rereads everything in its next cycle anyway.
    let attempt = AssertUnwindSafe(async { controller.reconcile(&mut cycle).await }).catch_unwind().await;
    let next = attempt.map_err(|payload| panic(&*payload))?.map_err(|error| Failure::Error(chain(&error)))?;
    if let Some(error) = cycle.broken.take() {
        return Err(error.into());
    }
    if next != Next::Unready {
        cycle.sweep();
    }
    Ok(next)
}

/// What was said by the panic.
pub(crate) fn panic(payload: &(dyn std::any::Any + Send)) -> Failure {
    let said = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Failure::Panic(said.unwrap_or("without a message").to_owned())
}

/// The error and its causes, on one line, as `sys::Chain` does, which this crate may not import.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
