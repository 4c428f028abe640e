//! The types of the store: one file each, shared by the controllers that write them and the server that shows them.

pub mod address;
pub mod condition;
pub mod event;
pub mod link;
pub mod link_config;
pub mod machine;
pub mod mount;
pub mod process;
pub mod resolver;
pub mod route;
pub mod wait;

pub use condition::Condition;
pub use event::Event;
pub use machine::Machine;
pub use wait::Wait;
