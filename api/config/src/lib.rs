//! The documents people write, and the files that declare services: parsed strictly, every problem reported at once.
//! Pure: no file is opened here.

pub mod service;
mod unit;
pub mod yaml;

pub use unit::{Bytes, Range, Span};
pub use yaml::{Problem, Problems};
