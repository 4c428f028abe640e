//! Two builds by users who have set up everything else differently (folder, caches, umask, time zone, language) give the
//! same bytes; stock tools accept them.
//!
//! Needs the pinned packages (fetched when they are not in the cache). Our programs are stand-ins: smallest static ELF
//! files.
#![expect(clippy::unwrap_used, reason = "a failure is the test's failure")]

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use installer::{cache, host, lock::Lock, spec::Kernel};

/// An ELF header and nothing else.
fn stand_in(name: &str) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[16] = 2; // executable
    elf[18] = 62; // x86-64
    elf[20] = 1;
    elf[52] = 64;
    elf.extend_from_slice(name.as_bytes());
    elf
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(std::fs::copy(entry.path(), target))
        }
    }
}

/// One user's ways.
struct User {
    /// Below this is all of theirs.
    folder: PathBuf,
    umask: &'static str,
    timezone: &'static str,
    language: &'static str,
    /// The order in which our programs were written.
    programs: [&'static str; 4],
}

/// This user's build; the folder with what it made.
fn build(user: &User) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |name| user.folder.join(name);
    let (source, binaries, out, caches) = (folder("installer"), folder("bin"), folder("out"), folder("cache/stele"));
    std::fs::create_dir_all(&caches).unwrap();
    std::os::unix::fs::symlink(cache::dir().join("debs"), caches.join("debs")).unwrap();
    std::fs::create_dir_all(&binaries).unwrap();
    // the loader has to be one that can be made an EFI program
    std::fs::copy(own.join("corpus/efi_program/program"), binaries.join("loader")).unwrap();
    for name in user.programs {
        std::fs::write(binaries.join(name), stand_in(name)).unwrap();
    }
    for file in ["image.yaml", "packages.lock", "executables.txt"] {
        std::fs::create_dir_all(&source).unwrap();
        std::fs::copy(own.join(file), source.join(file)).unwrap();
    }
    copy(&own.join("services"), &source.join("services"));
    // a shell sets the umask; imager finds the sources from where it is
    let mut program = host::program("sh", "dash")
        .args(["-c", "umask $0 && exec \"$@\"", user.umask, env!("CARGO_BIN_EXE_imager"), "build", "--binaries"])
        .args([binaries.as_os_str(), "--manifest".as_ref(), own.join("../Cargo.toml").as_os_str()])
        .args(["--out".as_ref(), out.as_os_str()]);
    program
        .command
        .current_dir(&user.folder)
        .env("XDG_CACHE_HOME", folder("cache"))
        .env("TZ", user.timezone)
        .env("LC_ALL", user.language)
        .env("STELE_COMMIT", "0123456789ab")
        .env("SOURCE_DATE_EPOCH", "1700000000");
    program.run().unwrap();
    out
}

#[test]
fn two_builds_give_the_same_bytes_and_stock_tools_accept_them() {
    let lock = Lock::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    installer::fetch::ensure(lock.needed(Kernel::Cloud)).unwrap();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = build(&User {
        folder: one.path().to_owned(),
        umask: "022",
        timezone: "UTC",
        language: "C",
        programs: ["init", "machined", "gateway", "installer"],
    });
    let second = build(&User {
        folder: other.path().join("a longer path, with spaces and größer"),
        umask: "077",
        timezone: "Pacific/Kiritimati",
        language: "tr_TR.UTF-8",
        programs: ["installer", "gateway", "init", "machined"],
    });
    let sums = |out: &Path| std::fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&first).lines().count(), 6);
    assert_eq!(sums(&first), sums(&second));

    let raw = first.join("stele-amd64.raw");
    let table = host::program("sgdisk", "gdisk").args(["-v".as_ref(), raw.as_os_str()]).run().unwrap();
    assert!(String::from_utf8_lossy(&table.stdout).contains("No problems found"));
    let esp = one.path().join("esp.img");
    let mut from = std::fs::File::open(&raw).unwrap();
    from.seek(SeekFrom::Start(1 << 20)).unwrap();
    let len = boot::part::ESP.size.unwrap();
    let mut to = std::fs::File::create(&esp).unwrap();
    to.set_len(len).unwrap();
    // nearly all of it is empty: leave that a hole
    let mut chunk = vec![0; 1 << 20];
    for at in (0..len).step_by(1 << 20) {
        from.read_exact(&mut chunk).unwrap();
        if chunk.iter().any(|&byte| byte != 0) {
            to.seek(SeekFrom::Start(at)).unwrap();
            to.write_all(&chunk).unwrap();
        }
    }
    host::program("fsck.vfat", "dosfstools").args(["-n".as_ref(), esp.as_os_str()]).run().unwrap();
}
