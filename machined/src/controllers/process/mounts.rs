//! Mounted filesystems, read when somebody asks: how full they are changes all the time.

use std::collections::{BTreeMap, HashMap};

use procfs::process::{MountInfo, Process};

use crate::resources::mount::Mount;

/// Asking these how full they are may take as long as their server likes.
const REMOTE: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse"];

/// All mounts. The id is the mount point; of several on one point the upper ones carry the kernel's number too.
pub fn read() -> Vec<(String, Mount)> {
    let Ok(mounts) = Process::myself().and_then(|me| me.mountinfo()) else { return Vec::new() };
    let mut found = BTreeMap::new();
    for info in mounts {
        let mount = look(&info);
        let id = if found.contains_key(&mount.target) {
            format!("{}#{}", mount.target, info.mnt_id)
        } else {
            mount.target.clone()
        };
        found.insert(id, mount);
    }
    found.into_iter().collect()
}

fn look(info: &MountInfo) -> Mount {
    let target = unescape(&info.mount_point.to_string_lossy());
    let (size_bytes, used_bytes) = fill(&target, &info.fs_type);
    Mount {
        source: unescape(info.mount_source.as_deref().unwrap_or_default()),
        root: unescape(&info.root),
        fstype: info.fs_type.clone(),
        options: options(&info.mount_options, &info.super_options),
        read_only: info.mount_options.contains_key("ro") || info.super_options.contains_key("ro"),
        target,
        size_bytes,
        used_bytes,
    }
}

fn fill(target: &str, fstype: &str) -> (u64, u64) {
    if REMOTE.iter().any(|remote| fstype == *remote || fstype.starts_with("fuse.")) {
        return (0, 0);
    }
    let Ok(state) = rustix::fs::statvfs(target) else { return (0, 0) };
    let size = state.f_blocks.saturating_mul(state.f_frsize);
    (size, size.saturating_sub(state.f_bfree.saturating_mul(state.f_frsize)))
}

/// Those of the mount, then what the filesystem adds; sorted, so that they compare.
fn options(mount: &HashMap<String, Option<String>>, filesystem: &HashMap<String, Option<String>>) -> String {
    let sorted = |options: &HashMap<String, Option<String>>| -> Vec<String> {
        let words =
            options.iter().map(|(name, value)| value.as_ref().map_or(name.clone(), |value| format!("{name}={value}")));
        let mut words: Vec<String> = words.collect();
        words.sort();
        words
    };
    let mut all = sorted(mount);
    all.extend(sorted(filesystem).into_iter().filter(|word| !mount.contains_key(word)));
    all.join(",")
}

/// A field as text: a path need not be any.
fn unescape(field: &str) -> String {
    String::from_utf8_lossy(&sys::mount::unescape(field.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_and_a_root_are_among_them() {
        let found = read();
        assert!(found.iter().any(|(id, _)| id == "/"));
        let (_, proc) = found.iter().find(|(id, _)| id == "/proc").unwrap();
        assert_eq!(proc.fstype, "proc");
    }
}
