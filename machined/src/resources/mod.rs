//! The types of the store: one file each, shared by the controllers that write them and the server that shows them.

pub mod address;
pub mod boot_record;
pub mod certificate;
pub mod coldplug;
pub mod condition;
pub mod config_source;
pub mod config_status;
pub mod disk;
pub mod disk_inventory;
pub mod document;
pub mod event;
pub mod kernel_module;
pub mod link;
pub mod link_config;
pub mod machine;
pub mod memory;
pub mod mount;
pub mod network_document;
pub mod origin;
pub mod partition;
pub mod process;
pub mod resolver;
pub mod revision;
pub mod route;
pub mod service;
pub mod system_disk;
pub mod virtual_link;
pub mod volume;
pub mod wait;

pub use condition::Condition;
pub use event::Event;
pub use machine::Machine;
pub use wait::Wait;
