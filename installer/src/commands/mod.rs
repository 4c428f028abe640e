//! The subcommands of `imager`, one file each.

pub mod baseline;
pub mod build;
pub mod extract;
pub mod fetch;
pub mod image;
pub mod loader;
pub mod lock;
pub mod ls;
pub mod sizes;
