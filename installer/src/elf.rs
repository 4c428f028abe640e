//! What a program needs to run, read from its ELF headers; nothing is executed.

use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};

/// Dynamic needs of one program or library; empty for a static one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The dynamic loader's absolute path.
    pub interpreter: Option<String>,
    /// Names of libraries (DT_NEEDED).
    pub libraries: Vec<String>,
}

/// Whether these bytes are an ELF file at all.
#[must_use]
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Reads the needs.
///
/// # Errors
/// When it is not a well-formed 64-bit ELF file.
pub fn needs(bytes: &[u8]) -> Result<Needs, object::Error> {
    let header = elf::FileHeader64::<object::Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let mut needs = Needs::default();
    for segment in segments {
        if let Some(name) = segment.interpreter(endian, bytes)? {
            needs.interpreter = Some(String::from_utf8_lossy(name).into_owned());
        }
    }
    let Some(entries) = segments.iter().find_map(|segment| segment.dynamic(endian, bytes).transpose()) else {
        return Ok(needs);
    };
    let entries = entries?;
    let value = |tag| entries.iter().find(|entry| entry.tag(endian) == tag).map(|entry| entry.d_val(endian));
    let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else { return Ok(needs) };
    let strings = segments
        .iter()
        .find_map(|segment| segment.data_range(endian, bytes, address, size).ok().flatten())
        .unwrap_or_default();
    let strings = object::StringTable::new(strings, 0, strings.len() as u64);
    for entry in entries.iter().filter(|entry| entry.tag(endian) == elf::DT_NEEDED) {
        let offset = u32::try_from(entry.d_val(endian)).unwrap_or(u32::MAX);
        if let Ok(name) = strings.get(offset) {
            needs.libraries.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(needs)
}

/// The content of a section, for kernel modules.
///
/// # Errors
/// When it is not a well-formed 64-bit ELF file.
pub fn section<'a>(bytes: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, object::Error> {
    use object::{Object, ObjectSection};
    let file = ElfFile64::<object::Endianness>::parse(bytes)?;
    file.section_by_name(name).map(|section| section.data()).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_test_program() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = needs(&own).unwrap();
        assert!(needs.interpreter.unwrap().contains("ld-linux"));
        assert!(needs.libraries.iter().any(|name| name.starts_with("libc.so")));
        assert!(section(&own, ".text").unwrap().is_some());
        assert!(super::needs(b"#!/bin/sh").is_err());
    }

    fuzz::targets! {
        elf: |bytes| drop(needs(bytes)),
    }
}
