use object::{Object, ObjectSection};

use super::*;
use crate::{host, keys, sign};

const R: u32 = 4;
const RW: u32 = 6;
const RX: u32 = 5;

/// Where the program headers are, and as many as fit before the first content.
const HEADERS: usize = 64;
const MOST_HEADERS: usize = 8;

/// An ELF program of segments (type, rights, address, content, bytes in memory).
fn elf(segments: &[(u32, u32, u64, &[u8], u64)], entry: u64) -> Vec<u8> {
    let mut out = vec![0; HEADERS + MOST_HEADERS * 56];
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in [(16, 3u16), (18, 62), (52, 64), (54, 56), (56, u16::try_from(segments.len()).unwrap())] {
        out[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    out[20] = 1;
    out[24..32].copy_from_slice(&entry.to_le_bytes());
    out[32..40].copy_from_slice(&(HEADERS as u64).to_le_bytes());
    for (index, (kind, rights, address, content, len)) in segments.iter().enumerate() {
        let (at, offset) = (HEADERS + index * 56, out.len() as u64);
        out[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        out[at + 4..at + 8].copy_from_slice(&rights.to_le_bytes());
        let fields = [offset, *address, *address, content.len() as u64, *len, 8];
        for (place, field) in out[at + 8..at + 56].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    out
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERP: u32 = 3;
const TLS: u32 = 7;

/// Code, a table of one relocation of this kind at this address, and what else the dynamic section says.
fn program(kind: u64, at: u64, more: &[u64]) -> Vec<u8> {
    let table = words(&[at, kind, 0x1004]);
    let dynamic = words(&[&[7, 0, 8, 24, 9, 24], more, &[0, 0]].concat());
    elf(
        &[
            (LOAD, R, 0, &table, 24),
            (LOAD, RX, 0x1000, &[0xc3; 16], 16),
            (LOAD, RW, 0x2000, &[1; 8], 0x40),
            (DYNAMIC, RW, 0, &dynamic, dynamic.len() as u64),
        ],
        0x1004,
    )
}

#[test]
fn becomes_an_efi_program() {
    let made = convert(&program(8, 0x2010, &[])).unwrap();
    assert!(made == convert(&program(8, 0x2010, &[])).unwrap());
    let parsed = object::read::pe::PeFile64::parse(made.as_slice()).unwrap();
    let head = &parsed.nt_headers().optional_header;
    assert_eq!(head.address_of_entry_point.get(LittleEndian), 0x2004);
    assert_eq!(head.subsystem.get(LittleEndian).0, 10);
    assert_eq!(head.size_of_image.get(LittleEndian), 0x5000);
    let sections: Vec<_> = parsed.sections().map(|s| (s.name().unwrap().to_owned(), s.address(), s.size())).collect();
    let wanted = [(".rodata", 0x1000, 24), (".text", 0x2000, 16), (".data", 0x3000, 0x40), (".reloc", 0x4000, 12)];
    assert_eq!(sections, wanted.map(|(name, at, len)| (name.to_owned(), at, len)));
    // the value in place, in what the file left out, and one relocation for it
    let data = parsed.section_by_name(".data").unwrap().data().unwrap();
    assert_eq!(data[..8], [1; 8]);
    assert_eq!(data[16..24], 0x2004u64.to_le_bytes());
    let mut blocks = parsed.data_directories().relocation_blocks(&made[..], &parsed.section_table()).unwrap().unwrap();
    let block: Vec<_> = blocks.next().unwrap().unwrap().map(|r| (r.virtual_address, r.typ.0)).collect();
    assert_eq!(block, [(0x3010, 10)]);
    assert!(blocks.next().unwrap().is_none());
}

#[test]
fn a_stock_tool_accepts_its_signature() {
    let work = tempfile::tempdir().unwrap();
    let key = keys::make(work.path(), "test").unwrap();
    let file = work.path().join("loader.efi");
    std::fs::write(&file, sign::sign(&convert(&program(8, 0x2000, &[])).unwrap(), &key).unwrap()).unwrap();
    host::program("sbverify", "sbsigntool")
        .args(["--cert".as_ref(), key.cert.as_os_str(), file.as_os_str()])
        .run()
        .unwrap();
}

#[test]
fn refuses_what_firmware_cannot_do() {
    let code: (u32, u32, u64, &[u8], u64) = (LOAD, RX, 0x1000, &[0xc3; 16], 16);
    assert!(convert(&elf(&[code], 0x1000)).is_ok());
    let needs = |bytes: &[u8]| matches!(convert(bytes), Err(Error::Needs(_)));
    assert!(needs(&elf(&[code, (INTERP, R, 0, b"ld\0", 3)], 0x1000)));
    assert!(needs(&elf(&[code, (TLS, R, 0, &[], 8)], 0x1000)));
    for tag in [1, 12, 17, 22, 23, 25, 36] {
        assert!(needs(&program(8, 0x2000, &[tag, 1])), "{tag}");
    }
    let mixed = elf(&[code, (LOAD, 7, 0x2000, &[0; 8], 8)], 0x1000);
    assert!(matches!(convert(&mixed), Err(Error::WriteExecute(0x2000))));
    for kind in [1, 6, 16, 37, 8 | 1 << 32] {
        assert!(matches!(convert(&program(kind, 0x2000, &[])), Err(Error::Relocation { at: 0x2000, .. })), "{kind}");
    }
}

#[test]
fn refuses_what_is_no_such_program() {
    let wrong = |bytes: &[u8]| matches!(convert(bytes), Err(Error::Elf(_) | Error::Object(_)));
    assert!(wrong(b"MZ"));
    let code: (u32, u32, u64, &[u8], u64) = (LOAD, RX, 0x1000, &[0xc3; 16], 16);
    let over = (LOAD, RW, 0x1800, &[0u8; 8][..], 8);
    for segments in [&[code, code][..], &[code, over], &[(LOAD, RX, 0x1000, &[0; 16], 8)], &[(LOAD, R, 0x1000, &[], 8)]]
    {
        assert!(wrong(&elf(segments, 0x1000)), "{segments:?}");
    }
    assert!(wrong(&elf(&[code], 0x1010)));
    // in code, beyond the end, over the end
    for at in [0x1000, 0x3000, 0x203c, u64::MAX] {
        assert!(wrong(&program(8, at, &[])), "{at:#x}");
    }
    let mut other = elf(&[code], 0x1000);
    other[18] = 183;
    assert!(wrong(&other));
}

fuzz::targets! {
    efi_program: |bytes| {
        if let Ok(made) = convert(bytes) {
            assert!(pe::sections(&made).unwrap().iter().any(|section| section.name == ".reloc"));
        }
    },
}
