//! On plain folders, and on FAT images without a mount: what is written, what goes, and that a swap is one sector.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use config::image::Digest;
use config::image::esp::{Entry, Request, Source};
use sha2::Digest as _;

use super::*;
use crate::fat;

fn hash(bytes: &[u8]) -> Digest {
    Digest::of_bytes(&sha2::Sha256::digest(bytes).into())
}

fn source(folder: &Path, name: &str, bytes: &[u8]) -> Source {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    Source { path: path.display().to_string(), digest: hash(bytes), size: bytes.len() as u64 }
}

fn entry(generation: Option<u32>, digest: &Digest) -> Entry {
    Entry { generation, digest: digest.clone(), version: "1.0.0".into() }
}

fn request(keep: &[&Digest], entries: Vec<Entry>) -> Request {
    Request {
        device: "/dev/none".into(),
        mount: "/none".into(),
        keep: keep.iter().map(|one| (*one).clone()).collect(),
        entries,
        add: Vec::new(),
        look: false,
        loader: None,
    }
}

fn make(root: &Path, request: &Request) -> Result<(Done, Option<::boot::Digest>), Error> {
    let mut lines = Vec::new();
    fill(root, request, true, &mut Report { to: &mut lines, step: "" })
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|found| found.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_partition_becomes_what_is_wanted_and_stays_so() {
    let (esp, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = esp.path();
    let (ukis, entries) = (root.join("EFI/stele"), root.join("loader/entries"));
    for folder in [&ukis, &entries, &root.join("EFI/BOOT")] {
        fs::create_dir_all(folder).unwrap();
    }
    let (old, gone, new) = (hash(b"old"), hash(b"gone"), source(parts.path(), "new", b"new"));
    fs::write(ukis.join(format!("{}.efi", old.hex())), "old").unwrap();
    fs::write(ukis.join(format!("{}.efi", gone.hex())), "gone").unwrap();
    // What a cut left of the file that is to come.
    fs::write(ukis.join(format!("{}.efi", new.digest.hex())), "ne").unwrap();
    fs::write(ukis.join("theirs.efi"), "theirs").unwrap();
    fs::write(entries.join("stele-00000001.conf"), "torn").unwrap();
    fs::write(entries.join("stele-00000003.conf"), "title gone\n").unwrap();
    fs::write(entries.join("stele-00000004.new"), "title").unwrap();
    fs::write(entries.join("theirs.conf"), "title theirs\n").unwrap();

    let wanted = Request { add: vec![new.clone()], ..request(&[&old], vec![entry(Some(1), &old)]) };
    let (done, _) = make(root, &wanted).unwrap();
    assert_eq!((done.written, done.damaged.len()), (3, 0));
    let mut ours = vec![format!("{}.efi", new.digest.hex()), format!("{}.efi", old.hex())];
    ours.sort();
    ours.push("theirs.efi".into());
    assert_eq!(names(&ukis), ours);
    assert_eq!(names(&entries), ["stele-00000001.conf", "theirs.conf"]);
    let text = fs::read(entries.join("stele-00000001.conf")).unwrap();
    let read = ::boot::entry::Entry::parse("stele-00000001.conf", &text).unwrap();
    assert_eq!(read.digest, digest(&old));
    let found: Vec<_> = look::look(root, &request(&[], Vec::new()))
        .unwrap()
        .found
        .into_iter()
        .map(|one| (one.generation, one.digest, one.size))
        .collect();
    assert_eq!(found, [(Some(1), old.clone(), 3)]);
    let (again, _) = make(root, &wanted).unwrap();
    assert_eq!(again.written, 0, "it was there already");

    fs::write(ukis.join(format!("{}.efi", old.hex())), "rot").unwrap();
    let (done, _) = make(root, &wanted).unwrap();
    assert_eq!(done.damaged, [old], "told, and left as it is");
}

#[test]
fn a_look_says_what_is_damaged_and_what_room_there_would_be_and_leaves_all_as_it_is() {
    let (esp, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = esp.path();
    let (ukis, theirs) = (root.join("EFI/stele"), root.join("EFI/theirs"));
    let boot = root.join("EFI/BOOT");
    for folder in [&ukis, &theirs, &boot] {
        fs::create_dir_all(folder).unwrap();
    }
    let (old, goes, gone, new) = (hash(b"old"), hash(b"goes"), hash(b"gone"), source(parts.path(), "new", b"new"));
    let file = |digest: &Digest| ukis.join(format!("{}.efi", digest.hex()));
    fs::write(file(&old), "rot").unwrap();
    fs::write(file(&goes), "goes").unwrap();
    // What a cut left of what is to come makes room, too.
    fs::write(file(&new.digest), "ne").unwrap();
    fs::write(boot.join("BOOTX64.EFI"), "loader").unwrap();
    fs::write(theirs.join("backup.img"), vec![0; 3 << 20]).unwrap();
    let before = names(&ukis);

    let wanted = Request { add: vec![new.clone()], look: true, ..request(&[&old, &gone], Vec::new()) };
    let done = look::look(root, &wanted).unwrap();
    assert_eq!(done.damaged, [old.clone(), gone]);
    let room = done.room.unwrap();
    assert_eq!(room.needed, 3 + RESERVE);
    let stays = BTreeSet::from([digest(&old)]);
    assert_eq!((files::disposable(root, &stays).unwrap(), room.free % 512), (6, 6), "what goes and what is torn");
    assert_eq!(
        room.foreign.iter().map(|file| (&*file.path, file.size)).collect::<Vec<_>>(),
        [("/EFI/theirs/backup.img", 3 << 20)]
    );
    assert_eq!(names(&ukis), before, "all is as it was");

    let large = Source { size: 1 << 60, ..new.clone() };
    let told = look::room(root, &wanted, &[&large]).unwrap().lack().unwrap();
    assert!(told.contains("MiB are missing") && told.contains("/EFI/theirs/backup.img (3 MiB)"), "{told}");
    let wanted = Request { add: vec![large], ..request(&[], Vec::new()) };
    let full = make(root, &wanted).unwrap_err();
    assert!(matches!(&full, Error::Full(told) if told.contains("backup.img")), "{full}");
}

#[test]
fn a_partition_that_cannot_be_written_is_told_by_a_look() {
    let (esp, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // In place of the folder; root may write what it may not.
    fs::create_dir_all(esp.path().join("EFI")).unwrap();
    fs::create_dir_all(esp.path().join("EFI/stele/tried.new")).unwrap();
    let add = vec![source(parts.path(), "new", b"new")];
    let wanted = Request { add, look: true, ..request(&[], Vec::new()) };
    let refused = look::look(esp.path(), &wanted).unwrap_err().to_string();
    assert!(refused.contains("cannot write"), "{refused}");
}

#[test]
fn a_part_that_is_not_what_was_checked_is_not_written() {
    let (esp, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(esp.path().join("EFI/stele")).unwrap();
    let new = source(parts.path(), "new", b"new");
    fs::write(parts.path().join("new"), "swapped").unwrap();
    let wanted = Request { add: vec![new], ..request(&[], Vec::new()) };
    assert!(matches!(make(esp.path(), &wanted), Err(Error::Copy(copy::Error::Source { .. }))));
    assert!(names(&esp.path().join("EFI/stele")).is_empty());
}

#[test]
fn an_entry_goes_before_the_file_that_it_names_when_its_name_is_to_stay() {
    let (esp, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ukis, entries) = (esp.path().join("EFI/stele"), esp.path().join("loader/entries"));
    fs::create_dir_all(&ukis).unwrap();
    let (old, same) = (source(&ukis, &format!("{}.efi", hash(b"old").hex()), b"old"), hash(b"same"));
    let before = vec![entry(None, &old.digest), entry(Some(1), &same)];
    make(esp.path(), &request(&[&old.digest], before)).unwrap();
    // Nothing comes after the old file is gone: there is no room.
    let new = Source { size: u64::MAX / 2, ..source(parts.path(), "new", b"new") };
    let after = vec![entry(None, &new.digest), entry(Some(1), &same)];
    let wanted = Request { add: vec![new], ..request(&[], after) };
    assert!(matches!(make(esp.path(), &wanted), Err(Error::Full { .. })));
    assert_eq!(names(&entries), ["stele-00000001.conf"]);
    assert_eq!(names(&ukis).len(), 0);
}

#[test]
fn the_loader_lies_beside_until_it_is_swapped() {
    let (esp, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let boot = esp.path().join("EFI/BOOT");
    fs::create_dir_all(&boot).unwrap();
    fs::write(boot.join("BOOTX64.EFI"), "old loader").unwrap();
    let new = source(parts.path(), "loader", b"new loader");
    let wanted = Request { loader: Some(new.clone()), ..request(&[], Vec::new()) };
    let (_, beside) = make(esp.path(), &wanted).unwrap();
    assert_eq!(beside, Some(digest(&new.digest)));
    assert_eq!(fs::read(boot.join("BOOTX64.EFI")).unwrap(), b"old loader");
    assert!(loader::clear(esp.path(), digest(&new.digest)).is_err(), "not swapped yet");
    fs::write(boot.join("BOOTX64.EFI"), "new loader").unwrap();
    let (_, beside) = make(esp.path(), &wanted).unwrap();
    assert_eq!((beside, names(&boot)), (None, vec!["BOOTX64.EFI".to_owned()]));
}

#[test]
fn a_loader_that_came_as_a_uki_does_goes_once_it_is_in_its_place() {
    let (esp, bytes) = (tempfile::tempdir().unwrap(), b"new loader");
    let (boot, ukis) = (esp.path().join("EFI/BOOT"), esp.path().join("EFI/stele"));
    fs::create_dir_all(&boot).unwrap();
    fs::create_dir_all(&ukis).unwrap();
    fs::write(boot.join("BOOTX64.EFI"), "old loader").unwrap();
    let new = source(&ukis, &format!("{}.efi", hash(bytes).hex()), bytes);
    let wanted = Request { loader: Some(new.clone()), ..request(&[], Vec::new()) };
    make(esp.path(), &wanted).unwrap();
    assert_eq!(names(&ukis).len(), 1, "not swapped yet");
    fs::write(boot.join("BOOTX64.EFI"), bytes).unwrap();
    for _ in 0..2 {
        let (_, beside) = make(esp.path(), &wanted).unwrap();
        assert_eq!((beside, names(&ukis).len()), (None, 0));
    }
}

/// A FAT image with both loaders, as the image builder makes one, and the bytes of it.
fn image(sector: u16) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("esp.img");
    let mut file = fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.set_len(300 << 20).unwrap();
    let volume = fat::Volume { start: 0, len: 300 << 20, sector, cluster: fat::CLUSTER, id: 1 };
    let files = [("EFI/BOOT/BOOTX64.EFI", &b"old"[..]), ("EFI/BOOT/BOOTX64.NEW", &b"the new one"[..])];
    let files = files.map(|(path, content)| fat::File { path: path.into(), content: Box::new(content) });
    fat::write(&mut file, &volume, files.into()).unwrap();
    (folder, path)
}

fn read(path: &Path, name: &str) -> Vec<u8> {
    let mut file = fs::File::open(path).unwrap();
    let system = hadris_fat::FatVolume::open(&mut file).unwrap();
    let mut file = system.open_file_path(name).unwrap();
    let mut buffer = [0; 64];
    let count = file.read(&mut buffer).unwrap();
    buffer[..count].to_vec()
}

#[test]
fn two_loaders_change_places_by_one_sector() {
    for sector in [512, 4096] {
        let (_folder, path) = image(sector);
        let before = fs::read(&path).unwrap();
        loader::swap(&path).unwrap();
        let after = fs::read(&path).unwrap();
        let width = usize::from(sector);
        let changed = before.chunks(width).zip(after.chunks(width)).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 1);
        assert_eq!(read(&path, "EFI/BOOT/BOOTX64.EFI"), b"the new one");
        assert_eq!(read(&path, "EFI/BOOT/BOOTX64.NEW"), b"old");
        let checked = crate::host::program("fsck.vfat", "dosfstools").args(["-n".as_ref(), path.as_os_str()]).run();
        assert!(checked.is_ok(), "{checked:?}");
        // And back.
        loader::swap(&path).unwrap();
        let mut file = fs::File::open(&path).unwrap();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert!(bytes == before);
    }
}

#[test]
fn what_is_no_fat_and_what_shares_its_content_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zeros");
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    assert!(loader::swap(&path).unwrap_err().to_string().contains("no FAT32"));
    let (_folder, path) = image(512);
    let mut bytes = fs::read(&path).unwrap();
    let find = |bytes: &[u8], name: &[u8]| bytes.windows(11).position(|window| window == name).unwrap();
    let (old, new) = (find(&bytes, b"BOOTX64 EFI"), find(&bytes, b"BOOTX64 NEW"));
    for at in [20, 21, 26, 27] {
        bytes[new + at] = bytes[old + at];
    }
    fs::write(&path, &bytes).unwrap();
    assert!(loader::swap(&path).unwrap_err().to_string().contains("share their content"));
    bytes[new..new + 11].copy_from_slice(b"OTHER   NEW");
    fs::write(&path, &bytes).unwrap();
    assert!(loader::swap(&path).unwrap_err().to_string().contains("there is no BOOTX64.NEW"));
}
