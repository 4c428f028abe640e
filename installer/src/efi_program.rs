//! The loader as rustc links it, a static position-independent ELF program, as an EFI program (PE32+, PE/COFF revision 11).
//!
//! ```text
//! each PT_LOAD -> one section, at its address and [`SHIFT`], with its rights
//! each R_X86_64_RELATIVE -> the value in place and a DIR64 in .reloc
//! ```
//! Whatever else would need a loader of programs is refused, and so is memory that can be written and executed. The same ELF
//! file gives the same bytes.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use object::elf::{self, FileHeader64, ProgramHeader64, Rela64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela};
use object::{LittleEndian, pod};

use crate::pe::{self, field, put_u32};
use crate::rootfs;
use crate::sign::{self, Key};

/// Addresses in memory, and rights there, are of whole pages.
const PAGE: usize = 4096;
/// Sections in the file: the least that the format allows.
const STEP: usize = 512;
/// The ELF program begins at address 0, where an EFI program has its headers.
const SHIFT: u64 = PAGE as u64;
/// No section lies at a higher address; a program of ours has some tens of kilobytes.
const MOST: u64 = 16 << 20;

/// IMAGE_SCN_*: code or data, to be thrown away, and what may be done with it.
mod flag {
    pub(super) const CODE: u32 = 0x20;
    pub(super) const INITIALIZED: u32 = 0x40;
    pub(super) const DISCARDABLE: u32 = 0x0200_0000;
    pub(super) const EXECUTE: u32 = 0x2000_0000;
    pub(super) const READ: u32 = 0x4000_0000;
    pub(super) const WRITE: u32 = 0x8000_0000;
}

/// It cannot be made an EFI program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a program of this kind at all.
    #[error("not a static x86-64 program in ELF format: {0}")]
    Elf(&'static str),
    /// Not readable.
    #[error("not a static x86-64 program in ELF format")]
    Object(#[from] object::Error),
    /// It needs what an EFI program does not get.
    #[error("the program needs {0}, which firmware does not provide; is it linked as installer/loader/build.rs says?")]
    Needs(&'static str),
    /// Some memory would be writable and executable.
    #[error("the program has memory at {0:#x} that can be written and executed")]
    WriteExecute(u64),
    /// A relocation that is not to the program's own start.
    #[error("the program has a relocation of type {kind} at {at:#x}; only R_X86_64_RELATIVE has a counterpart")]
    Relocation {
        /// ELF's number for it.
        kind: u32,
        /// Where.
        at: u64,
    },
    /// The result.
    #[error(transparent)]
    Program(#[from] pe::Error),
}

struct Section {
    name: [u8; 8],
    /// Where it is in memory.
    address: u64,
    /// Bytes in memory; the content may be shorter.
    len: u64,
    content: Vec<u8>,
    flags: u32,
}

impl Section {
    fn end(&self) -> u64 {
        self.address + self.len
    }
}

/// The program `loader` in a folder as it lies on a disk: converted and signed.
///
/// # Errors
/// When it is missing, not as expected, or cannot be signed.
pub fn build(binaries: &Path, key: &Key) -> anyhow::Result<Vec<u8>> {
    let program = convert(&rootfs::program(binaries, "loader")?).context("the loader cannot be made an EFI program")?;
    Ok(sign::sign(&program, key)?)
}

/// Converts a program.
///
/// # Errors
/// See [`Error`].
pub fn convert(program: &[u8]) -> Result<Vec<u8>, Error> {
    let header = FileHeader64::<LittleEndian>::parse(program)?;
    if header.e_machine.get(LittleEndian) != elf::EM_X86_64 || header.e_type.get(LittleEndian) != elf::ET_DYN {
        return Err(Error::Elf("it is for another machine, or not position-independent"));
    }
    let segments = header.program_headers(LittleEndian, program)?;
    let mut sections = load(segments, program)?;
    let places = relocate(&mut sections, segments, program)?;
    let end = sections.last().map_or(SHIFT, Section::end).next_multiple_of(SHIFT);
    let content = relocations(&places);
    let len = content.len() as u64;
    let flags = flag::INITIALIZED | flag::READ | flag::DISCARDABLE;
    sections.push(Section { name: *b".reloc\0\0", address: end, len, content, flags });
    let entry = header.e_entry.get(LittleEndian).checked_add(SHIFT).ok_or(Error::Elf("it has no entry point"))?;
    let is_code = |section: &&Section| section.flags & flag::EXECUTE != 0;
    if !sections.iter().filter(is_code).any(|section| (section.address..section.end()).contains(&entry)) {
        return Err(Error::Elf("its entry point is not in its code"));
    }
    Ok(write(&sections, entry)?)
}

/// The sections, in the order of their addresses, none over another.
fn load(segments: &[ProgramHeader64<LittleEndian>], program: &[u8]) -> Result<Vec<Section>, Error> {
    let mut sections: Vec<Section> = Vec::new();
    for segment in segments {
        match segment.p_type(LittleEndian) {
            elf::PT_INTERP => return Err(Error::Needs("a dynamic linker")),
            elf::PT_TLS => return Err(Error::Needs("memory of its own for each thread")),
            elf::PT_LOAD => {}
            _ => continue,
        }
        let (start, len) = (segment.p_vaddr(LittleEndian), segment.p_memsz(LittleEndian));
        let content = segment.data(LittleEndian, program).map_err(|()| Error::Elf("a segment lies outside of it"))?;
        if len == 0 {
            continue;
        }
        if start > MOST || len > MOST || content.len() as u64 > len {
            return Err(Error::Elf("a segment is too long"));
        }
        let (name, flags) = kind(segment.p_flags(LittleEndian), start)?;
        let address = start + SHIFT;
        if !address.is_multiple_of(SHIFT) || sections.last().is_some_and(|last| address < last.end()) {
            return Err(Error::Elf("its segments do not follow one another in pages"));
        }
        sections.push(Section { name, address, len, content: content.to_vec(), flags });
    }
    Ok(sections)
}

/// Name and flags for a segment's rights.
fn kind(rights: elf::ProgramFlags, start: u64) -> Result<([u8; 8], u32), Error> {
    let has = |right| rights.contains(right);
    match (has(elf::PF_W), has(elf::PF_X)) {
        (true, true) => Err(Error::WriteExecute(start)),
        (false, true) => Ok((*b".text\0\0\0", flag::CODE | flag::EXECUTE | flag::READ)),
        (false, false) => Ok((*b".rodata\0", flag::INITIALIZED | flag::READ)),
        (true, false) => Ok((*b".data\0\0\0", flag::INITIALIZED | flag::READ | flag::WRITE)),
    }
}

/// Puts the values into place, as for a program at address 0; the addresses that change when it is elsewhere.
fn relocate(
    sections: &mut [Section],
    segments: &[ProgramHeader64<LittleEndian>],
    program: &[u8],
) -> Result<BTreeSet<u64>, Error> {
    let mut places = BTreeSet::new();
    for relocation in dynamic(segments, program)? {
        let (at, kind) = (relocation.r_offset(LittleEndian), relocation.r_type(LittleEndian, false));
        if kind != elf::R_X86_64_RELATIVE || relocation.r_sym(LittleEndian, false) != 0 {
            return Err(Error::Relocation { kind: kind.0, at });
        }
        let wrong = Error::Elf("a relocation lies outside of its data");
        let Some(address) = at.checked_add(SHIFT) else { return Err(wrong) };
        let section = sections.iter_mut().find(|section| (section.address..section.end()).contains(&address));
        let Some(section) = section.filter(|section| section.flags & flag::WRITE != 0) else { return Err(wrong) };
        let Ok(offset) = usize::try_from(address - section.address) else { return Err(wrong) };
        if offset as u64 + 8 > section.len || !places.insert(address) {
            return Err(wrong);
        }
        // A value in what the file leaves out, which is zero.
        if section.content.len() < offset + 8 {
            section.content.resize(offset + 8, 0);
        }
        let value = relocation.r_addend(LittleEndian).cast_unsigned().wrapping_add(SHIFT);
        section.content[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    Ok(places)
}

/// The relocations that the dynamic section names; anything else in it that asks for work is refused.
fn dynamic<'a>(
    segments: &[ProgramHeader64<LittleEndian>],
    program: &'a [u8],
) -> Result<&'a [Rela64<LittleEndian>], Error> {
    let mut tables = segments.iter().filter_map(|segment| segment.dynamic(LittleEndian, program).transpose());
    let Some(table) = tables.next().transpose()? else { return Ok(&[]) };
    let (mut start, mut len, mut entry) = (None, 0, size_of::<Rela64<LittleEndian>>() as u64);
    for item in table {
        let value = item.d_val(LittleEndian);
        match item.tag(LittleEndian) {
            elf::DT_NULL => break,
            elf::DT_RELA => start = Some(value),
            elf::DT_RELASZ => len = value,
            elf::DT_RELAENT => entry = value,
            elf::DT_NEEDED => return Err(Error::Needs("a shared library")),
            elf::DT_TEXTREL => return Err(Error::Needs("its code changed while it is loaded")),
            elf::DT_JMPREL | elf::DT_REL | elf::DT_RELR => return Err(Error::Needs("relocations of another kind")),
            elf::DT_INIT | elf::DT_INIT_ARRAY | elf::DT_PREINIT_ARRAY | elf::DT_FINI | elf::DT_FINI_ARRAY => {
                return Err(Error::Needs("functions called before or after it"));
            }
            _ => {}
        }
    }
    let Some(start) = start.filter(|_| len != 0) else { return Ok(&[]) };
    if entry != size_of::<Rela64<LittleEndian>>() as u64 {
        return Err(Error::Elf("its relocations have another size"));
    }
    let mut found = segments
        .iter()
        .filter(|segment| segment.p_type(LittleEndian) == elf::PT_LOAD)
        .filter_map(|segment| segment.data_range(LittleEndian, program, start, len).ok().flatten());
    let bytes = found.next().ok_or(Error::Elf("its relocations lie outside of it"))?;
    let count = bytes.len() / size_of::<Rela64<LittleEndian>>();
    let (relocations, rest) =
        pod::slice_from_bytes(bytes, count).map_err(|()| Error::Elf("its relocations do not lie on eight bytes"))?;
    if rest.is_empty() { Ok(relocations) } else { Err(Error::Elf("its relocations have another size")) }
}

/// The content of `.reloc`: a block for each page (PE/COFF, "The .reloc Section").
fn relocations(places: &BTreeSet<u64>) -> Vec<u8> {
    const HEAD: usize = 8;
    const DIR64: u16 = 10 << 12;
    let mut out = Vec::new();
    let mut places = places.iter().peekable();
    while let Some(page) = places.peek().map(|place| **place / SHIFT) {
        let start = out.len();
        out.resize(start + HEAD, 0);
        while let Some(place) = places.next_if(|place| **place / SHIFT == page) {
            let offset = u16::try_from(place % SHIFT).unwrap_or_default();
            out.extend((DIR64 | offset).to_le_bytes());
        }
        // a block ends on four bytes; a zero entry is of the kind that does nothing
        out.resize(out.len().next_multiple_of(4), 0);
        let len = u32::try_from(out.len() - start).unwrap_or_default();
        out[start..start + 4].copy_from_slice(&u32::try_from(page * SHIFT).unwrap_or_default().to_le_bytes());
        out[start + 4..start + HEAD].copy_from_slice(&len.to_le_bytes());
    }
    if out.is_empty() {
        // An EFI program without this section would be one that must not be moved: a block for nothing.
        out.extend([0, 0, 0, 0, 8, 0, 0, 0]);
    }
    out
}

/// Offsets from the start of the optional header that only a new program needs; the rest is in [`field`].
mod new {
    pub(super) const SIZE_OF_CODE: usize = 4;
    pub(super) const ENTRY_POINT: usize = 16;
    pub(super) const BASE_OF_CODE: usize = 20;
    pub(super) const SUBSYSTEM: usize = 68;
    pub(super) const CHARACTERISTICS: usize = 70;
    pub(super) const DIRECTORIES: usize = 108;
    /// Data directory 5: base relocations.
    pub(super) const RELOCATIONS: usize = 112 + 5 * 8;
    pub(super) const LEN: usize = 112 + 16 * 8;
}

/// The file: headers, then the sections.
fn write(sections: &[Section], entry: u64) -> Result<Vec<u8>, pe::Error> {
    const SIGNATURE: usize = 64;
    const COFF: usize = SIGNATURE + 4;
    const OPTIONAL: usize = COFF + 20;
    const TABLE: usize = OPTIONAL + new::LEN;
    let usize_of = |value: u64| usize::try_from(value).map_err(|_| pe::Error::Format("over 4 GiB"));
    let head = (TABLE + sections.len() * field::ENTRY_LEN).next_multiple_of(STEP);
    if head > PAGE {
        return Err(pe::Error::Room { room: (PAGE - TABLE) / field::ENTRY_LEN, wanted: sections.len() });
    }
    let mut out = vec![0; head];
    out[..2].copy_from_slice(b"MZ");
    put_u32(&mut out, 0x3c, SIGNATURE)?;
    out[SIGNATURE..COFF].copy_from_slice(b"PE\0\0");
    let mut put_u16 = |at: usize, value: u16| out[at..at + 2].copy_from_slice(&value.to_le_bytes());
    put_u16(COFF, 0x8664); // x86-64
    put_u16(COFF + 2, u16::try_from(sections.len()).unwrap_or_default());
    put_u16(COFF + 16, u16::try_from(new::LEN).unwrap_or_default());
    put_u16(COFF + 18, 0x0022); // a program, which may lie above 2 GiB
    put_u16(OPTIONAL, 0x20b); // PE32+
    put_u16(OPTIONAL + new::SUBSYSTEM, 10); // EFI application
    // It may be moved anywhere, and nothing of it is both written and executed.
    put_u16(OPTIONAL + new::CHARACTERISTICS, 0x0020 | 0x0040 | 0x0100);
    let total = |flags: u32| -> usize {
        let of = sections.iter().filter(|section| section.flags & flags != 0);
        of.map(|section| section.content.len().next_multiple_of(STEP)).sum()
    };
    let first_code = sections.iter().find(|section| section.flags & flag::CODE != 0);
    let end = sections.last().map_or(SHIFT, Section::end).next_multiple_of(SHIFT);
    for (at, value) in [
        (new::SIZE_OF_CODE, total(flag::CODE)),
        (field::SIZE_OF_INITIALIZED, total(flag::INITIALIZED)),
        (new::ENTRY_POINT, usize_of(entry)?),
        (new::BASE_OF_CODE, usize_of(first_code.map_or(0, |section| section.address))?),
        (field::SECTION_ALIGNMENT, PAGE),
        (field::FILE_ALIGNMENT, STEP),
        (field::SIZE_OF_IMAGE, usize_of(end)?),
        (field::SIZE_OF_HEADERS, head),
        (new::DIRECTORIES, 16),
    ] {
        put_u32(&mut out, OPTIONAL + at, value)?;
    }
    if let Some(relocations) = sections.last() {
        put_u32(&mut out, OPTIONAL + new::RELOCATIONS, usize_of(relocations.address)?)?;
        put_u32(&mut out, OPTIONAL + new::RELOCATIONS + 4, relocations.content.len())?;
    }
    for (index, section) in sections.iter().enumerate() {
        let (at, offset) = (TABLE + index * field::ENTRY_LEN, out.len());
        let stored = section.content.len().next_multiple_of(STEP);
        out[at..at + 8].copy_from_slice(&section.name);
        put_u32(&mut out, at + 8, usize_of(section.len)?)?;
        put_u32(&mut out, at + 12, usize_of(section.address)?)?;
        put_u32(&mut out, at + 16, stored)?;
        put_u32(&mut out, at + 20, if stored == 0 { 0 } else { offset })?;
        out[at + 36..at + 40].copy_from_slice(&section.flags.to_le_bytes());
        out.extend_from_slice(&section.content);
        out.resize(offset + stored, 0);
    }
    let checksum = pe::checksum(&out, OPTIONAL + field::CHECKSUM);
    put_u32(&mut out, OPTIONAL + field::CHECKSUM, checksum)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
