//! The kinds of documents, one small file each: fields with their defaults, checks, and what the reference says of them.

mod addressing;
mod api;
mod authority;
mod bond;
mod disk_selector;
mod gate;
mod hostname;
mod image_policy;
mod install;
mod kernel_module;
mod link;
mod pem;
mod registry;
mod resolver;
mod static_host;
mod sysctl;
mod time;
mod trusted_roots;
mod vlan;

pub use addressing::{Addressing, Route};
pub use api::{Accepted, Api, Certificates};
pub use authority::Authority;
pub use bond::{Bond, BondMode, HashPolicy, LacpRate};
pub use disk_selector::{DiskFacts, DiskSelector};
pub use gate::{Ask, Gate};
pub use hostname::Hostname;
pub use image_policy::{ImagePolicy, Verify};
pub use install::Install;
pub use kernel_module::KernelModule;
pub use link::{Link, Match};
pub use registry::Registry;
pub use resolver::Resolver;
pub use static_host::StaticHost;
pub use sysctl::{Sysctl, path as sysctl_path};
pub use time::Time;
pub use trusted_roots::TrustedRoots;
pub use vlan::Vlan;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;
