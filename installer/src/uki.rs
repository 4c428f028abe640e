//! Unified kernel images: systemd's EFI stub with the kernel, initramfs and texts as further PE sections.
//! (UAPI group specification 5, "Unified Kernel Image"; PE/COFF revision 11.)
//!
//! Only what is needed to append sections to a given PE32+ program is here; it refuses what it does not expect.

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

/// A UKI cannot be made or read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not what is expected.
    #[error("not an EFI program as expected: {0}")]
    Format(&'static str),
    /// No room for more section headers.
    #[error("the EFI stub has room for {room} more sections, {wanted} are wanted")]
    Room {
        /// Free headers.
        room: usize,
        /// Sections to add.
        wanted: usize,
    },
}

/// A section as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// With the dot.
    pub name: String,
    /// Where in the file.
    pub offset: usize,
    /// Bytes of content.
    pub len: usize,
}

/// Offsets of the fields used, from the start of the optional header (PE32+).
mod field {
    pub(super) const ENTRY_LEN: usize = 40;
    pub(super) const SIZE_OF_INITIALIZED: usize = 8;
    pub(super) const SECTION_ALIGNMENT: usize = 32;
    pub(super) const FILE_ALIGNMENT: usize = 36;
    pub(super) const SIZE_OF_IMAGE: usize = 56;
    pub(super) const SIZE_OF_HEADERS: usize = 60;
    pub(super) const CHECKSUM: usize = 64;
    /// Data directory 4: the signatures.
    pub(super) const SECURITY: usize = 112 + 4 * 8;
}

/// The largest that PE/COFF allows for files; sections of EFI programs are aligned to pages.
const MAX_ALIGNMENT: usize = 64 * 1024;

/// IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ
const DATA: u32 = 0x4000_0040;

struct Headers {
    coff: usize,
    optional: usize,
    table: usize,
    count: usize,
}

fn u16_at(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let field = bytes.get(at..at + 2).and_then(|field| field.try_into().ok());
    field.map(|field| usize::from(u16::from_le_bytes(field))).ok_or(Error::Format("cut short"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
    field.map(|field| u32::from_le_bytes(field) as usize).ok_or(Error::Format("cut short"))
}

fn put_u32(bytes: &mut [u8], at: usize, value: usize) -> Result<(), Error> {
    let value = u32::try_from(value).map_err(|_| Error::Format("over 4 GiB"))?;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    Ok(())
}

fn headers(pe: &[u8]) -> Result<Headers, Error> {
    if !pe.starts_with(b"MZ") {
        return Err(Error::Format("no MZ header"));
    }
    let signature = u32_at(pe, 0x3c)?;
    if pe.get(signature..signature + 4) != Some(b"PE\0\0") {
        return Err(Error::Format("no PE header"));
    }
    let coff = signature + 4;
    let optional = coff + 20;
    if u16_at(pe, optional)? != 0x20b {
        return Err(Error::Format("not PE32+"));
    }
    let table = optional + u16_at(pe, coff + 16)?;
    if signature < 0x40 || table < optional + field::SECURITY + 8 {
        return Err(Error::Format("its headers lie over one another"));
    }
    if pe.len() < table {
        return Err(Error::Format("cut short"));
    }
    Ok(Headers { coff, optional, table, count: u16_at(pe, coff + 2)? })
}

/// All sections of a PE file in the order of its table.
///
/// # Errors
/// When it is not a PE32+ file or its table points outside of it.
pub fn sections(pe: &[u8]) -> Result<Vec<Section>, Error> {
    let headers = headers(pe)?;
    (0..headers.count)
        .map(|index| {
            let at = headers.table + index * field::ENTRY_LEN;
            let name = pe.get(at..at + 8).ok_or(Error::Format("cut short"))?;
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            let (len, offset) = (u32_at(pe, at + 8)?.min(u32_at(pe, at + 16)?), u32_at(pe, at + 20)?);
            pe.get(offset..offset + len).ok_or(Error::Format("a section lies outside of the file"))?;
            Ok(Section { name: String::from_utf8_lossy(name).into_owned(), offset, len })
        })
        .collect()
}

/// The content of a section of a UKI.
///
/// # Errors
/// When it is no PE file or has no such section.
pub fn section<'a>(pe: &'a [u8], name: &str) -> Result<&'a [u8], Error> {
    let found = sections(pe)?.into_iter().find(|section| section.name == name);
    let section = found.ok_or(Error::Format("it has no such section"))?;
    Ok(&pe[section.offset..section.offset + section.len])
}

/// Appends sections to the stub, in this order: each at the next free address and file offset.
///
/// # Errors
/// When the stub is not what is expected, or has no room.
pub fn assemble(stub: &[u8], add: &[(&str, &[u8])]) -> Result<Vec<u8>, Error> {
    let Headers { coff, optional, table, count } = headers(stub)?;
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
    let checksum = checksum(&pe, optional + field::CHECKSUM);
    put_u32(&mut pe, optional + field::CHECKSUM, checksum)?;
    Ok(pe)
}

/// The pieces of a program that a signature covers: all but the checksum and the place that says where signatures are.
///
/// # Errors
/// When it is no PE32+ file or already signed.
pub fn signed_part(pe: &[u8]) -> Result<[&[u8]; 3], Error> {
    let Headers { optional, .. } = headers(pe)?;
    let (checksum, security) = (optional + field::CHECKSUM, optional + field::SECURITY);
    if u32_at(pe, security)? != 0 || u32_at(pe, security + 4)? != 0 {
        return Err(Error::Format("already signed"));
    }
    Ok([&pe[..checksum], &pe[checksum + 4..security], &pe[security + 8..]])
}

/// Attaches a PKCS #7 signature (WIN_CERTIFICATE, revision 2, type 2) to a program that has none.
///
/// # Errors
/// When it is no PE32+ file.
pub fn attach(pe: &[u8], pkcs7: &[u8]) -> Result<Vec<u8>, Error> {
    let Headers { optional, .. } = headers(pe)?;
    let mut signed = pe.to_vec();
    let start = pe.len();
    if !start.is_multiple_of(8) {
        return Err(Error::Format("its length is not a multiple of 8"));
    }
    let mut head = [0; 8];
    put_u32(&mut head, 0, 8 + pkcs7.len())?;
    head[4..].copy_from_slice(&[0x00, 0x02, 0x02, 0x00]);
    signed.extend_from_slice(&head);
    signed.extend_from_slice(pkcs7);
    signed.resize(signed.len().next_multiple_of(8), 0);
    let len = signed.len() - start;
    put_u32(&mut signed, optional + field::SECURITY, start)?;
    put_u32(&mut signed, optional + field::SECURITY + 4, len)?;
    let checksum = checksum(&signed, optional + field::CHECKSUM);
    put_u32(&mut signed, optional + field::CHECKSUM, checksum)?;
    Ok(signed)
}

/// The PE checksum: 16-bit one's complement sum with the field itself as zero, plus the length.
#[must_use]
pub fn checksum(pe: &[u8], field: usize) -> usize {
    let mut sum = 0usize;
    for (index, pair) in pe.chunks(2).enumerate() {
        let at = index * 2;
        if at < field || at >= field + 4 {
            sum += usize::from(pair[0]) | pair.get(1).map_or(0, |&high| usize::from(high) << 8);
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    sum + pe.len()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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
            for section in sections(bytes).unwrap_or_default() {
                let _ = super::section(bytes, &section.name).unwrap();
            }
            if let Ok(pe) = assemble(bytes, &[(OSREL, b"ID=stele")]) {
                assert_eq!(section(&pe, OSREL), Ok(&b"ID=stele"[..]));
            }
            let _ = signed_part(bytes);
            let _ = attach(bytes, b"signature");
        },
    }
}
