//! The generated /etc: few files, for programs that look there; machined itself reads none of them. Written at every start
//! and when the machine gets its lasting name. Called by `boot`.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::file;
use crate::identity::Machine;

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct Error {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Names where /etc has them; what changes at run time is in /run, written by who knows it.
const LINKS: [(&str, &str); 3] = [
    ("os-release", "../usr/lib/os-release"),
    ("resolv.conf", "../run/stele/resolv.conf"),
    ("mtab", "../proc/self/mounts"),
];

/// Writes everything under `etc`. A reader sees the old file or the new one, never half of one.
pub fn write(etc: &Path, machine: &Machine) -> Result<(), Error> {
    for (name, text) in files(machine) {
        let path = etc.join(name);
        // Kept by `system/hosts` as soon as the configuration is known; it must not lose what it wrote for a moment.
        if name == "hosts" && path.exists() {
            continue;
        }
        file::replace(&path, text.as_bytes(), 0o644).map_err(|source| Error { path, source })?;
    }
    for (name, target) in LINKS {
        let path = etc.join(name);
        match symlink(target, &path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => return Err(Error { path, source }),
            _ => {}
        }
    }
    Ok(())
}

/// Writes the machine's name alone.
pub fn write_name(etc: &Path, machine: &Machine) -> io::Result<()> {
    file::replace(&etc.join("hostname"), format!("{}\n", machine.short()).as_bytes(), 0o644)
}

/// The lines of /etc/hosts that are always there.
pub fn hosts(machine: &Machine) -> String {
    let (full, short) = (&machine.hostname, machine.short());
    let names = if full == short { short.to_owned() } else { format!("{full} {short}") };
    format!("127.0.0.1 localhost\n127.0.1.1 {names}\n::1 localhost ip6-localhost ip6-loopback\n")
}

fn files(machine: &Machine) -> [(&'static str, String); 7] {
    [
        ("machine-id", format!("{}\n", machine.machine_id)),
        ("hostname", format!("{}\n", machine.short())),
        ("hosts", hosts(machine)),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n".into()),
        (
            "passwd",
            "root:x:0:0::/:/nonexistent\ngateway:x:100:100::/:/nonexistent\nnobody:x:65534:65534::/:/nonexistent\n"
                .into(),
        ),
        ("group", "root:x:0:\ntty:x:5:\ngateway:x:100:\nnogroup:x:65534:\n".into()),
        // Programs that insist on a time zone get UTC.
        ("timezone", "UTC\n".into()),
    ]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_can_be_written_again_and_holds_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine =
            Machine { machine_id: "ab".repeat(16), hostname: "stele-ababab".into(), ..Machine::default() };
        write(dir.path(), &machine).unwrap();
        machine.hostname = "stele-cdcdcd".into();
        write(dir.path(), &machine).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("hostname")).unwrap(), "stele-cdcdcd\n");
        assert!(
            fs::read_to_string(dir.path().join("hosts")).unwrap().contains("stele-ababab"),
            "system/hosts keeps it"
        );
        machine.hostname = "web-1.example.com".into();
        write_name(dir.path(), &machine).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("hostname")).unwrap(), "web-1\n");
        assert!(hosts(&machine).contains("127.0.1.1 web-1.example.com web-1\n"));
        assert!(dir.path().join("resolv.conf").symlink_metadata().unwrap().is_symlink());
    }
}
