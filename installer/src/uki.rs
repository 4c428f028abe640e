//! Unified kernel images: systemd's EFI stub with the kernel, initramfs and texts as further PE sections.
//! (UAPI group specification 5, "Unified Kernel Image".)

use crate::pe::{self, Error, Headers, field, put_u32, u32_at};

/// The kernel.
pub const LINUX: &str = ".linux";
/// The initramfs.
pub const INITRD: &str = ".initrd";
/// The kernel's command line.
pub const CMDLINE: &str = ".cmdline";
/// os-release(5).
pub const OSREL: &str = ".osrel";
/// The kernel's `uname -r`.
pub const UNAME: &str = ".uname";

/// The largest that PE/COFF allows for files; sections of EFI programs are aligned to pages.
const MAX_ALIGNMENT: usize = 64 * 1024;

/// IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ
const DATA: u32 = 0x4000_0040;

/// Appends sections to the stub, in this order: each at the next free address and file offset.
///
/// # Errors
/// When the stub is not what is expected, or has no room.
pub fn assemble(stub: &[u8], add: &[(&str, &[u8])]) -> Result<Vec<u8>, Error> {
    let Headers { coff, optional, table, count } = pe::headers(stub)?;
    let section_alignment = u32_at(stub, optional + field::SECTION_ALIGNMENT)?;
    let file_alignment = u32_at(stub, optional + field::FILE_ALIGNMENT)?;
    let sane = |alignment: usize| (1..=MAX_ALIGNMENT).contains(&alignment);
    if !sane(section_alignment) || !sane(file_alignment) {
        return Err(Error::Format("no alignment, or one over 64 KiB"));
    }
    let (mut address, mut end) = (0, 0);
    for index in 0..count {
        let at = table + index * field::ENTRY_LEN;
        address = address.max(u32_at(stub, at + 12)? + u32_at(stub, at + 8)?);
        end = end.max(u32_at(stub, at + 20)? + u32_at(stub, at + 16)?);
    }
    let room = u32_at(stub, optional + field::SIZE_OF_HEADERS)?.saturating_sub(table) / field::ENTRY_LEN;
    let room = room.saturating_sub(count);
    if add.len() > room {
        return Err(Error::Room { room, wanted: add.len() });
    }
    if end < table + (count + add.len()) * field::ENTRY_LEN {
        return Err(Error::Format("its sections lie over its headers"));
    }
    // what lies after the last section (a COFF symbol table) is cut: signing tools complain about gaps
    let mut pe = stub.get(..end).ok_or(Error::Format("a section lies outside of the file"))?.to_vec();
    pe[coff + 8..coff + 16].fill(0);
    let mut initialized = u32_at(&pe, optional + field::SIZE_OF_INITIALIZED)?;
    for (index, (name, content)) in add.iter().enumerate() {
        let offset = pe.len().next_multiple_of(file_alignment);
        address = address.next_multiple_of(section_alignment);
        let stored = content.len().next_multiple_of(file_alignment);
        let at = table + (count + index) * field::ENTRY_LEN;
        let mut entry = [0; field::ENTRY_LEN];
        let name = name.as_bytes().get(..8).unwrap_or(name.as_bytes());
        entry[..name.len()].copy_from_slice(name);
        put_u32(&mut entry, 8, content.len())?;
        put_u32(&mut entry, 12, address)?;
        put_u32(&mut entry, 16, stored)?;
        put_u32(&mut entry, 20, offset)?;
        entry[36..40].copy_from_slice(&DATA.to_le_bytes());
        pe[at..at + field::ENTRY_LEN].copy_from_slice(&entry);
        pe.resize(offset, 0);
        pe.extend_from_slice(content);
        pe.resize(offset + stored, 0);
        address += content.len();
        initialized += stored;
    }
    let total = u16::try_from(count + add.len()).map_err(|_| Error::Format("too many sections"))?;
    pe[coff + 2..coff + 4].copy_from_slice(&total.to_le_bytes());
    put_u32(&mut pe, optional + field::SIZE_OF_INITIALIZED, initialized)?;
    put_u32(&mut pe, optional + field::SIZE_OF_IMAGE, address.next_multiple_of(section_alignment))?;
    pe[optional + field::SECURITY..optional + field::SECURITY + 8].fill(0);
    let checksum = pe::checksum(&pe, optional + field::CHECKSUM);
    put_u32(&mut pe, optional + field::CHECKSUM, checksum)?;
    Ok(pe)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pe::{attach, section, sections, signed_part};

    /// A PE32+ file with headers of 1 KiB and one section of 512 bytes.
    pub(crate) fn stub() -> Vec<u8> {
        let mut pe = vec![0; 1536];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 64;
        pe[64..68].copy_from_slice(b"PE\0\0");
        pe[68 + 2] = 1; // one section
        pe[68..70].copy_from_slice(&[0x64, 0x86]); // x86-64
        pe[68 + 16] = 240; // optional header
        pe[88 + 108] = 16; // data directories
        let optional = 88;
        pe[optional..optional + 2].copy_from_slice(&0x20bu16.to_le_bytes());
        put_u32(&mut pe, optional + field::SECTION_ALIGNMENT, 4096).unwrap();
        put_u32(&mut pe, optional + field::FILE_ALIGNMENT, 512).unwrap();
        put_u32(&mut pe, optional + field::SIZE_OF_HEADERS, 1024).unwrap();
        let table = optional + 240;
        pe[table..table + 5].copy_from_slice(b".text");
        for (at, value) in [(8, 300), (12, 4096), (16, 512), (20, 1024)] {
            put_u32(&mut pe, table + at, value).unwrap();
        }
        pe
    }

    #[test]
    fn sections_come_back_as_they_went_in() {
        let big = vec![7; 5000];
        let pe = assemble(&stub(), &[(OSREL, b"ID=stele\n"), (LINUX, &big)]).unwrap();
        assert_eq!(section(&pe, OSREL), Ok(&b"ID=stele\n"[..]));
        assert_eq!(section(&pe, LINUX), Ok(&big[..]));
        assert_eq!(section(&pe, INITRD), Err(Error::Format("it has no such section")));
        let parsed = object::read::pe::PeFile64::parse(pe.as_slice()).unwrap();
        use object::{Object, ObjectSection};
        assert_eq!(parsed.section_by_name(LINUX).unwrap().data().unwrap()[..5000], big[..]);
        assert_eq!(pe.len() % 512, 0);
    }

    #[test]
    fn refuses_what_it_does_not_expect() {
        assert_eq!(assemble(b"ELF", &[]), Err(Error::Format("no MZ header")));
        assert!(sections(&stub()[..200]).is_err());
        let many = vec![(OSREL, &b""[..]); 17];
        assert_eq!(assemble(&stub(), &many), Err(Error::Room { room: 16, wanted: 17 }));
    }

    fuzz::targets! {
        uki: |bytes| {
            for found in sections(bytes).unwrap_or_default() {
                let _ = section(bytes, &found.name).unwrap();
            }
            if let Ok(pe) = assemble(bytes, &[(OSREL, b"ID=stele")]) {
                assert_eq!(section(&pe, OSREL), Ok(&b"ID=stele"[..]));
            }
            let _ = signed_part(bytes);
            let _ = attach(bytes, b"signature");
        },
    }
}
