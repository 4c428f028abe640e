//! Leases by DHCPv4.

pub mod client;
pub mod lease;
pub mod options;
pub mod packet;
