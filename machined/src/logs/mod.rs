//! Logs of services, of machined itself and of the kernel: drained, bounded, readable by cursor.
//!
//! A log is a stream of bytes; a cursor is an offset in it. The bytes go by splice(2) from the service's pipe into files in
//! /run, so a machined that dies at any instruction loses none and a reader continues where it was.

mod line;

pub use line::{Chunk, Line, Start};
