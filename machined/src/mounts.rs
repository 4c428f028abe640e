//! The file systems machined mounts at its start, after init's; mounting what is mounted already changes nothing, so a
//! machined that was restarted runs the same lines. Called by `boot`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustix::mount::MountFlags as F;
use sys::mount;

/// One mount.
struct Mount {
    kind: &'static str,
    on: &'static str,
    flags: F,
    options: &'static str,
    /// Without it there is nothing to go on with; the others are reported and survived.
    must: bool,
}

const fn new(kind: &'static str, on: &'static str, flags: F, options: &'static str, must: bool) -> Mount {
    Mount { kind, on, flags, options, must }
}

/// Nothing on them is a program, a device or setuid.
const DATA: F = F::NOSUID.union(F::NODEV).union(F::NOEXEC);

/// In order: a place must be there before what is mounted on it. The sizes are limits, not reservations.
const MOUNTS: &[Mount] = &[
    new("cgroup2", "/sys/fs/cgroup", DATA, "nsdelegate,memory_recursiveprot", true),
    new("tmpfs", "/etc", F::NOSUID.union(F::NODEV).union(F::NOEXEC), "mode=0755,size=1m", true),
    new("tmpfs", "/tmp", F::NOSUID.union(F::NODEV), "mode=1777,size=10%", true),
    new("devpts", "/dev/pts", F::NOSUID.union(F::NOEXEC), "mode=0620,gid=5,ptmxmode=0666", false),
    new("tmpfs", "/dev/shm", F::NOSUID.union(F::NODEV), "mode=1777,size=10%", false),
    new("mqueue", "/dev/mqueue", DATA, "", false),
    new("securityfs", "/sys/kernel/security", DATA, "", false),
    new("pstore", "/sys/fs/pstore", DATA, "", false),
];

/// Where devtmpfs has no folder of its own.
const MADE: [&str; 3] = ["/dev/pts", "/dev/shm", "/dev/mqueue"];

/// Mounts what is missing. Returns what could not be mounted and can be done without.
pub fn ensure() -> Result<Vec<mount::Error>, mount::Error> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let there = mounted(&mounts);
    let mut failed = Vec::new();
    for m in MOUNTS {
        let on = Path::new(m.on);
        if there.contains(m.on) {
            continue;
        }
        if MADE.contains(&m.on) {
            // If it fails the mount says so.
            let _ = fs::create_dir_all(on);
        }
        if !m.must && !on.exists() {
            continue; // this kernel or firmware has no such thing
        }
        match mount::new(m.kind, Path::new(m.kind), on, m.flags, m.options) {
            Err(error) if m.must => return Err(error),
            Err(error) => failed.push(error),
            Ok(()) => {}
        }
    }
    // Containers see mounts made later only if this one passes them on.
    mount::propagate(Path::new("/"), mount::Propagation::SHARED | mount::Propagation::REC)?;
    Ok(failed)
}

fn mounted(mounts: &str) -> BTreeSet<&str> {
    mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_read_from_the_second_field() {
        let there = mounted("proc /proc proc rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n\n");
        assert!(there.contains("/tmp") && !there.contains("tmpfs") && there.len() == 2);
    }

    #[test]
    fn places_come_before_what_is_on_them() {
        for (i, m) in MOUNTS.iter().enumerate() {
            assert!(MOUNTS[..i].iter().all(|earlier| !earlier.on.starts_with(&format!("{}/", m.on))), "{}", m.on);
        }
    }
}
