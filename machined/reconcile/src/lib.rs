//! The control model: a typed resource store, watches, controllers, and the runtime that runs them.
//!
//! Knows nothing of Linux, and imports no other crate of the workspace. Producers put [`Resource`]s into the [`Store`];
//! [`Controller`]s read some types and write others, level-triggered; the [`Runtime`] enforces what they declared,
//! restarts what fails, and removes outputs that are no longer wanted.
//!
//! What keeps it simple: a cycle rereads everything (no events in controllers), a put of an equal value changes nothing
//! (so controllers come to rest), and what a good cycle does not put again goes away (so nobody writes clean-up).
//!
//! ```
//! use reconcile::{Column, Controller, Cycle, CycleError, Next, Ports, Resource, Runtime, Store};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
//! struct Link {
//!     up: bool,
//! }
//!
//! impl Resource for Link {
//!     const TYPE: &'static str = "link";
//!     const PLURAL: &'static str = "links";
//!     const DOC: &'static str = "A network interface of this machine.";
//!     const COLUMNS: &'static [Column] = &[Column::new("UP", "/up")];
//! }
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
//! struct Route {
//!     via: String,
//! }
//!
//! impl Resource for Route {
//!     const TYPE: &'static str = "route";
//!     const PLURAL: &'static str = "routes";
//!     const DOC: &'static str = "A way out.";
//!     const COLUMNS: &'static [Column] = &[Column::new("VIA", "/via")];
//! }
//!
//! /// A default route through each link that is up.
//! struct Routes;
//!
//! impl Controller for Routes {
//!     const NAME: &'static str = "network/route";
//!     type Error = CycleError;
//!
//!     fn declare(ports: &mut Ports) {
//!         ports.watch::<Link>().own::<Route>();
//!     }
//!
//!     async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
//!         for link in cx.list::<Link>()? {
//!             if link.value.up {
//!                 cx.put(&link.id, Route { via: link.id.clone() })?;
//!             }
//!         }
//!         Ok(Next::OnChange)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::new();
//! let links = store.writer::<Link>("example")?;
//! let mut runtime = Runtime::new(store.clone());
//! runtime.register(Routes);
//!
//! let mut routes = store.watch::<Route>();
//! let stopped = runtime.run(async {
//!     links.put("eth0", Link { up: true });
//!     routes.changed().await;
//!     assert_eq!(store.list::<Route>()[0].value.via, "eth0");
//!     links.put("eth0", Link { up: false });
//!     routes.changed().await;
//!     assert!(store.list::<Route>().is_empty());
//! });
//! assert!(stopped.await?.cut.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Tests of a controller need no runtime: [`run_cycle`] runs one cycle against a store as the runtime does.

pub mod controller;
pub mod cycle;
pub mod graph;
pub mod ports;
pub mod resource;
pub mod runtime;
#[cfg(test)]
mod samples;
pub mod store;

pub use controller::{Controller, Next};
pub use cycle::{Cycle, CycleError, Failure, run_cycle};
pub use graph::Graph;
pub use ports::{Access, Ports};
pub use resource::{Column, Object, ObjectPhase, RawObject, Resource, TypeInfo};
pub use runtime::{ControllerStatus, Problem, Problems, Runtime, Status, Stopped};
pub use store::{
    Changes, Claim, ClaimError, RawChange, RawEvent, RawWatch, SharedWriter, Slow, Store, WriteError, Writer,
};
