//! The control model: a typed resource store, watches, controllers, and the runtime that runs them.
//!
//! Knows nothing of Linux, and imports no other crate of the workspace. Producers put [`Resource`]s into the [`Store`];
//! [`Controller`]s read some types and write others, level-triggered; the [`Runtime`] enforces what they declared,
//! restarts what fails, and removes outputs that are no longer wanted.

pub mod controller;
pub mod cycle;
pub mod graph;
pub mod ports;
pub mod resource;
pub mod runtime;
pub mod store;

pub use controller::{Controller, Next};
pub use cycle::{Cycle, CycleError, Failure, run_cycle};
pub use graph::Graph;
pub use ports::{Access, Ports};
pub use resource::{Column, Object, ObjectPhase, RawObject, Resource, TypeInfo};
pub use runtime::{ControllerStatus, Problem, Problems, Runtime, Status, Stopped};
pub use store::{Changes, Claim, ClaimError, RawChange, RawEvent, RawWatch, SharedWriter, Store, WriteError, Writer};
