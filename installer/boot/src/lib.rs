//! The on-disk formats of a Stele system disk: partitions, META and its records, the boot log ring, boot entries; and what is
//! started of them.
//!
//! Pure functions over byte slices: no I/O, no allocation, so the same code runs in the loader, init, machined, the
//! installer and the image builder. Invariant: whatever bytes a disk holds, decoding never panics and never returns
//! bytes whose checksum does not match.
#![cfg_attr(not(test), no_std)]

mod bytes;
pub mod change;
pub mod decide;
pub mod entry;
pub mod guid;
pub mod log;
pub mod meta;
pub mod part;
pub mod record;
pub mod state;
pub mod uki;

pub use guid::Guid;
pub use uki::{Digest, Uki};
