//! The controllers, by area. Each area has `register`, which adds its controllers to the runtime; `boot` calls them.

pub mod boot;
pub mod console;
pub mod device;
pub mod disk;
pub mod network;
pub mod process;
