//! Onto plain files: what is on them is gone, what is written is there, and what is not as it should be is told before anything
//! is changed.

use std::os::unix::fs::FileExt;

use super::*;
use crate::host;
use crate::whole::tests::{signed_loader, signed_uki};

const SIZE: u64 = LEAST;

struct Place {
    folder: tempfile::TempDir,
    request: Request,
}

fn source(folder: &Path, name: &str, bytes: &[u8]) -> Source {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    let digest = config::image::Digest::of_bytes(&Sha256::digest(bytes).into());
    Source { path: path.display().to_string(), digest, size: bytes.len() as u64 }
}

/// A disk of that size, and parts.
fn place(size: u64) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("disk");
    File::create(&device).unwrap().set_len(size).unwrap();
    let request = Request {
        device: device.display().to_string(),
        sequence: 0,
        uki: source(folder.path(), "uki", &signed_uki("VERSION_ID=1.2.3\n", 5 << 20)),
        recovery: Some(source(folder.path(), "recovery", &signed_uki("ID=stele\nVERSION_ID=1.2.3\n", 1 << 20))),
        loader: source(folder.path(), "loader", &signed_loader()),
        facts: Some(serde_json::json!({ "jobs": { "last": 1 } })),
    };
    Place { folder, request }
}

fn install(request: &Request) -> Result<(Installed, Vec<Progress>), Error> {
    let mut lines = Vec::new();
    let mut report = Report { to: &mut lines, step: "", done: 0, total: 0, told: 0 };
    let installed = write(request, &mut report)?;
    let lines = String::from_utf8(lines).unwrap();
    let progress = lines.lines().map(|line| match serde_json::from_str(line).unwrap() {
        Line::Progress(progress) => progress,
        other => panic!("{other:?}"),
    });
    Ok((installed, progress.collect()))
}

#[test]
fn a_disk_that_held_something_boots() {
    let place = place(SIZE + 12345 * 512);
    let disk = File::options().read(true).write(true).open(&place.request.device).unwrap();
    // Remains in all places that matter.
    let junk = vec![0xe5; 3 << 20];
    for at in [0, 1 << 20, disk::END - (1 << 20), disk::END + (256 << 20), SIZE + 12345 * 512 - (3 << 20)] {
        disk.write_all_at(&junk, at).unwrap();
    }
    let (installed, progress) = install(&place.request).unwrap();
    assert_eq!((installed.version.as_str(), installed.start, installed.sectors), ("1.2.3", 2048, 4 << 20));
    let mut steps: Vec<_> = progress.iter().map(|progress| progress.step.as_str()).collect();
    steps.dedup();
    assert_eq!(steps, ["check", "wipe", "write", "table", "verify"]);

    let mut facts = vec![0; boot::meta::MACHINED.a.len];
    disk.read_exact_at(&mut facts, disk::PARTS[1].1 + boot::meta::MACHINED.b.offset).unwrap();
    let record = boot::record::decode(boot::record::Kind::Machined, &facts).unwrap();
    assert_eq!(record.payload, br#"{"jobs":{"last":1}}"#);
    for at in [disk::END, disk::END + (256 << 20)] {
        let mut start = [1; 4096];
        disk.read_exact_at(&mut start, at).unwrap();
        assert!(start == [0; 4096], "something shows through at {at}");
    }
    let esp = place.folder.path().join("esp");
    let mut window = std::io::BufReader::new(&disk);
    std::io::Seek::seek(&mut window, io::SeekFrom::Start(1 << 20)).unwrap();
    io::copy(&mut window.take(2 << 30), &mut File::create(&esp).unwrap()).unwrap();
    host::program("/usr/sbin/fsck.vfat", "dosfstools").args(["-n".as_ref(), esp.as_os_str()]).run().unwrap();

    // Once more: another disk, though of the same content.
    let (again, _) = install(&place.request).unwrap();
    assert_ne!((&again.disk, &again.esp), (&installed.disk, &installed.esp));
}

#[test]
fn what_is_wrong_is_told_before_anything_changes() {
    let mut place = place(SIZE);
    let disk = File::options().read(true).write(true).open(&place.request.device).unwrap();
    disk.write_all_at(b"theirs", 0).unwrap();
    let mut wrong = |change: &dyn Fn(&mut Request), what: &str| {
        let before = place.request.clone();
        change(&mut place.request);
        let error = crate::chain(&install(&place.request).unwrap_err());
        assert!(error.contains(what), "{error}");
        place.request = before;
        let mut start = [0; 6];
        disk.read_exact_at(&mut start, 0).unwrap();
        assert_eq!(&start, b"theirs");
    };
    let folder = place.folder.path();
    let plain = source(folder, "plain", b"no program");
    let unsigned = source(folder, "unsigned", &signed_loader()[..600]);
    let small = folder.join("small");
    File::create(&small).unwrap().set_len(3 << 30).unwrap();
    wrong(&|request| request.uki.digest = request.loader.digest.clone(), "does not hold what it should");
    wrong(&|request| request.recovery = Some(plain.clone()), "is not whole");
    wrong(&|request| request.loader = unsigned.clone(), "is not whole");
    wrong(&|request| request.device = small.display().to_string(), "3072 MiB, at least 3074 MiB");
    wrong(&|request| request.device = folder.join("none").display().to_string(), "cannot look at");
}
