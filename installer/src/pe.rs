//! EFI programs as files: the few fields of PE32+ that are read and written here (PE/COFF, revision 11).
//!
//! It refuses what it does not expect. Used to assemble UKIs and to sign them.

/// A program cannot be made or read.
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
pub(crate) mod field {
    pub(crate) const ENTRY_LEN: usize = 40;
    pub(crate) const SIZE_OF_INITIALIZED: usize = 8;
    pub(crate) const SECTION_ALIGNMENT: usize = 32;
    pub(crate) const FILE_ALIGNMENT: usize = 36;
    pub(crate) const SIZE_OF_IMAGE: usize = 56;
    pub(crate) const SIZE_OF_HEADERS: usize = 60;
    pub(crate) const CHECKSUM: usize = 64;
    /// Data directory 4: the signatures.
    pub(crate) const SECURITY: usize = 112 + 4 * 8;
}

/// Where the headers are in the file, and how many sections there are.
pub(crate) struct Headers {
    pub(crate) coff: usize,
    pub(crate) optional: usize,
    pub(crate) table: usize,
    pub(crate) count: usize,
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let field = bytes.get(at..at + 2).and_then(|field| field.try_into().ok());
    field.map(|field| usize::from(u16::from_le_bytes(field))).ok_or(Error::Format("cut short"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
    field.map(|field| u32::from_le_bytes(field) as usize).ok_or(Error::Format("cut short"))
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: usize) -> Result<(), Error> {
    let value = u32::try_from(value).map_err(|_| Error::Format("over 4 GiB"))?;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    Ok(())
}

pub(crate) fn headers(pe: &[u8]) -> Result<Headers, Error> {
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
    sections_of(pe, pe.len())
}

/// The same of a file that has this length and begins so: its headers must be in that.
///
/// # Errors
/// When it is not a PE32+ file or its table points outside of it.
pub fn sections_of(head: &[u8], len: usize) -> Result<Vec<Section>, Error> {
    let headers = headers(head)?;
    (0..headers.count)
        .map(|index| {
            let at = headers.table + index * field::ENTRY_LEN;
            let name = head.get(at..at + 8).ok_or(Error::Format("cut short"))?;
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            let (stored, offset) = (u32_at(head, at + 8)?.min(u32_at(head, at + 16)?), u32_at(head, at + 20)?);
            if offset + stored > len {
                return Err(Error::Format("a section lies outside of the file"));
            }
            Ok(Section { name: String::from_utf8_lossy(name).into_owned(), offset, len: stored })
        })
        .collect()
}

/// The content of a section.
///
/// # Errors
/// When it is no PE file or has no such section.
pub fn section<'a>(pe: &'a [u8], name: &str) -> Result<&'a [u8], Error> {
    let found = sections(pe)?.into_iter().find(|section| section.name == name);
    let section = found.ok_or(Error::Format("it has no such section"))?;
    Ok(&pe[section.offset..section.offset + section.len])
}

/// Where the two fields are that no signature covers: the checksum, and the place that says where signatures are.
///
/// # Errors
/// When it is no PE32+ file.
pub fn signature_fields(head: &[u8]) -> Result<[usize; 2], Error> {
    let Headers { optional, .. } = headers(head)?;
    Ok([optional + field::CHECKSUM, optional + field::SECURITY])
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
