//! What documents say about the system as a whole: name, known hosts, settings and modules of the kernel, trusted
//! authorities, time. Each controller reads the documents of one kind, shows them as specs, applies them, and shows what came
//! of it; spec and status have one owner, so that nothing is taken back because the one was slower than the other.

mod hostname;
mod hosts;
mod module;
mod roots;
mod sysctl;
#[cfg(test)]
pub(super) mod tests_support;
mod time;

use std::path::Path;

use reconcile::Runtime;

use crate::clock::Sure;
use crate::events::Events;
use crate::identity::Identity;

pub use module::same;
pub use time::keep::Keeper as TimeKeeper;

/// Adds this area's controllers. `run` is /run/stele: what was before a document came is kept there.
pub fn register(runtime: &mut Runtime, run: &Path, identity: &Identity, events: &Events, sure: &Sure) {
    let set = |name: &str| Ok(rustix::system::sethostname(name.as_bytes())?);
    runtime
        .register(hostname::Hostnames::new(identity.clone(), "/etc", set))
        .register(hosts::Hosts::new(identity.clone(), "/etc/hosts"))
        .register(sysctl::Sysctls::new(sysctl::Proc::new("/proc/sys"), run.join("sysctl.json"), events.clone()))
        .register(module::Modules::new("/sys/module"))
        .register(roots::Roots::new("/etc/ssl/certs/ca-certificates.crt"))
        .register(time::Clock::new(time::ask::Sntp, time::Kernel, sure.clone(), run.join("time"), events.clone()));
}
