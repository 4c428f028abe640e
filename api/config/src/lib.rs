//! The documents people write, and the files that declare services: parsed strictly, every problem reported at once.
//! Pure: no file is opened here.

mod diff;
mod document;
pub mod image;
mod kind;
pub mod kinds;
#[cfg(feature = "edit")]
pub mod patch;
mod reference;
mod schema;
mod secrets;
pub mod service;
mod set;
mod unit;
mod word;
pub mod yaml;

pub use diff::{Action, Change, changes};
pub use document::{At, Document, Documents, format};
pub use kind::{Body, Check, Effect, Kind};
pub use reference::reference;
pub use schema::schema;
pub use secrets::{Private, Secret, Secrets};
pub use set::{Stream, complete, parse, parse_bytes, parse_files};
pub use unit::{Bytes, Range, Sizes, Span};
pub use word::{Destination, Mac, Net, Text};
pub use yaml::{Problem, Problems};

/// What every document says it is written for.
pub const API_VERSION: &str = "stele/v1";
