//! The subcommands of `imager`, one file each.

pub mod access;
pub mod baseline;
pub mod build;
pub mod extract;
pub mod fetch;
pub mod image;
pub mod loader;
pub mod lock;
pub mod ls;
pub mod oci;
pub mod push;
pub mod sign;
pub mod sizes;
pub mod tool;
pub mod verify;
