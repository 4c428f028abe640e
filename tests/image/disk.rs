//! The raw disk in the eyes of sgdisk and fsck, and in the other formats.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use tests::artifacts;

use crate::{command, ok};

const MIB: u64 = 1 << 20;

#[test]
fn sgdisk_finds_no_problem_in_the_table() {
    let raw = artifacts::product_image("cloud").raw().expect("the disk");
    let said = ok(command("sgdisk").arg("-v").arg(&raw));
    assert!(said.contains("No problems found"), "{said}");
    let table = ok(command("sgdisk").arg("-p").arg(&raw));
    assert!(table.contains("EF00"), "no EFI partition: {table}");
}

#[test]
fn fsck_finds_no_problem_in_the_efi_partition() {
    let raw = artifacts::product_image("cloud").raw().expect("the disk");
    let info = ok(command("sgdisk").args(["-i", "1"]).arg(&raw));
    let sector = |name: &str| -> u64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{info}"));
        line.trim_start_matches(": ").split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let esp = folder.path().join("esp.img");
    cut(&raw, &esp, sector("First sector") * 512, (sector("Last sector") + 1) * 512);
    ok(command("fsck.vfat").arg("-n").arg(&esp));
}

#[test]
fn mtools_finds_the_boot_chain_named_by_its_content() {
    let image = artifacts::product_image("cloud");
    let folder = tempfile::tempdir().expect("a folder");
    let esp = format!("{}@@{MIB}", image.raw().expect("the disk").display());
    ok(command("mcopy").env("MTOOLS_SKIP_CHECK", "1").args(["-s", "-i", &esp, "::/"]).arg(folder.path()));
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let is = |name: &str, wanted: &Path| assert_eq!(read(name), std::fs::read(wanted).expect("a result"), "{name}");
    is("EFI/BOOT/BOOTX64.EFI", &image.loader().expect("the loader"));
    for (entry, wanted) in [("stele-00000001", image.uki()), ("stele-recovery", image.recovery())] {
        let text = String::from_utf8(read(&format!("loader/entries/{entry}.conf"))).expect("text");
        let path = text.lines().find_map(|line| line.strip_prefix("efi ")).expect("a line with the UKI").trim();
        is(path.trim_start_matches('/'), &wanted.expect("a UKI"));
        let sum = ok(command("sha256sum").arg(folder.path().join(path.trim_start_matches('/'))));
        assert!(path.ends_with(&format!("/{}.efi", sum.split(' ').next().expect("a sum"))), "{path} is {sum}");
    }
}

#[test]
fn qcow2_and_compressed_disks_hold_the_same_bytes() {
    let image = artifacts::product_image("cloud");
    let (uki, raw) = (image.uki().expect("the UKI"), image.raw().expect("the disk"));
    let folder = tempfile::tempdir().expect("a folder");
    for format in ["qcow2", "raw.zst"] {
        let made = folder.path().join(format!("disk.{format}"));
        let mut imager = command(artifacts::imager());
        ok(imager.args(["image", "--format", format, "--uki"]).arg(&uki).arg("--output").arg(&made));
        let back = folder.path().join("back.raw");
        if format == "qcow2" {
            ok(command("qemu-img").args(["convert", "-O", "raw"]).args([&made, &back]));
        } else {
            ok(command("zstd").args(["-d", "-f", "-q", "--sparse", "-o"]).args([&back, &made]));
        }
        // Knows holes, so that two gigabytes of nothing are compared at once.
        ok(command("qemu-img").args(["compare", "-f", "raw", "-F", "raw"]).args([&raw, &back]));
    }
}

/// A part of a file as a file, with holes where nothing is.
fn cut(from: &Path, to: &Path, start: u64, end: u64) {
    let (mut from, mut to) = (File::open(from).expect("the disk"), File::create(to).expect("a file"));
    to.set_len(end - start).expect("the length");
    let mut chunk = vec![0; usize::try_from(MIB).expect("small")];
    for at in (start..end).step_by(chunk.len()) {
        from.seek(SeekFrom::Start(at)).expect("seeking");
        from.read_exact(&mut chunk).expect("reading");
        if chunk.iter().any(|byte| *byte != 0) {
            to.seek(SeekFrom::Start(at - start)).expect("seeking");
            to.write_all(&chunk).expect("writing");
        }
    }
}
