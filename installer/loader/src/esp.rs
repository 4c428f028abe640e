//! The EFI partition that this program was started from: its files, read only, by the firmware's file system.

use core::{
    fmt::Write,
    mem::offset_of,
    ptr::{self, NonNull},
};

use uefi_raw::{
    Handle,
    protocol::file_system::{FileAttribute, FileInfo, FileMode, FileProtocolV1, SimpleFileSystemProtocol},
};

use crate::{firmware::Firmware, path::separator, utf16};

/// Longest path, in letters: our longest has 80.
const PATH: usize = 128;

/// More files than that in a folder are not looked at: a damaged one may have no end.
const MOST: usize = 1024;

/// The partition's root folder.
pub(crate) struct Esp {
    root: File,
}

impl Esp {
    pub(crate) fn open(firmware: &Firmware, device: Handle) -> Option<Self> {
        let system = firmware.protocol::<SimpleFileSystemProtocol>(device)?;
        let mut root = ptr::null_mut();
        // SAFETY: a protocol of the firmware's, and a place for the answer.
        let status = unsafe { (system.as_ref().open_volume)(system.as_ptr(), &raw mut root) };
        status.is_success().then(|| NonNull::new(root).map(|file| Self { root: File { file } })).flatten()
    }

    /// A file or folder by its path from the root, in ASCII, as boot entries write it: `/EFI/stele/x.efi`.
    pub(crate) fn file(&self, path: &str) -> Option<File> {
        self.file_in("", path)
    }

    /// The same with the path in two parts.
    pub(crate) fn file_in(&self, folder: &str, path: &str) -> Option<File> {
        let mut name = utf16::Text::<PATH>::new();
        for byte in folder.bytes().chain(path.bytes()) {
            name.write_char(char::from(separator(byte))).ok()?;
        }
        let (name, mut found) = (name.with_end(), ptr::null_mut());
        let root = self.root.file.as_ptr();
        // SAFETY: the root is open, the name has its end, and the answer a place.
        let status =
            unsafe { ((*root).open)(root, &raw mut found, name.as_ptr(), FileMode::READ, FileAttribute::empty()) };
        if status.is_success() { NonNull::new(found).map(|file| File { file }) } else { None }
    }
}

/// An open file or folder; closed when dropped.
pub(crate) struct File {
    file: NonNull<FileProtocolV1>,
}

impl File {
    /// Reads on, as much as fits and is there; `None` when it cannot be read.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        let (file, mut len) = (self.file.as_ptr(), into.len());
        // SAFETY: the file is open, and the buffer has as many bytes as is said.
        let status = unsafe { ((*file).read)(file, &raw mut len, into.as_mut_ptr().cast()) };
        (status.is_success() && len <= into.len()).then_some(len)
    }

    /// Length in bytes.
    pub(crate) fn size(&self) -> Option<u64> {
        let mut info = Info::new();
        let (file, mut len) = (self.file.as_ptr(), info.bytes.len());
        // SAFETY: the file is open, and the buffer has as many bytes as is said.
        let status = unsafe { ((*file).get_info)(file, &FileInfo::ID, &raw mut len, info.bytes.as_mut_ptr().cast()) };
        status.is_success().then(|| info.size()).flatten()
    }

    /// The names of the files in this folder that are short and ASCII, as ours are.
    pub(crate) fn each_name(&mut self, mut see: impl FnMut(&str)) {
        let mut info = Info::new();
        for _ in 0..MOST {
            match self.read(&mut info.bytes) {
                Some(len) if len > 0 => {
                    let mut letters = [0; 64];
                    if let Some(name) = info.name(len, &mut letters) {
                        see(name);
                    }
                }
                _ => break,
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let file = self.file.as_ptr();
        // SAFETY: it is open, and not used after this.
        let _ = unsafe { ((*file).close)(file) };
    }
}

/// EFI_FILE_INFO with room for the longest name that FAT has.
#[repr(align(8))]
struct Info {
    bytes: [u8; 1024],
}

impl Info {
    const fn new() -> Self {
        Self { bytes: [0; 1024] }
    }

    fn size(&self) -> Option<u64> {
        self.bytes[offset_of!(FileInfo, file_size)..].first_chunk().map(|size| u64::from_le_bytes(*size))
    }

    fn name<'a>(&self, len: usize, letters: &'a mut [u8]) -> Option<&'a str> {
        let units = self.bytes.get(offset_of!(FileInfo, file_name)..len)?.chunks_exact(2);
        let mut count = 0;
        for unit in units.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).take_while(|&unit| unit != 0) {
            *letters.get_mut(count)? = u8::try_from(unit).ok().filter(u8::is_ascii)?;
            count += 1;
        }
        str::from_utf8(&letters[..count]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sizes() {
        let mut info = Info::new();
        info.bytes[8..16].copy_from_slice(&77u64.to_le_bytes());
        for (place, unit) in info.bytes[80..].chunks_exact_mut(2).zip("stele-1.conf".encode_utf16()) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
        let mut letters = [0; 64];
        assert_eq!(info.size(), Some(77));
        assert_eq!(info.name(80 + 26, &mut letters), Some("stele-1.conf"));
        assert_eq!(info.name(80 + 26, &mut [0; 5]), None);
        assert_eq!(info.name(79, &mut letters), None);
        info.bytes[81] = 0x30;
        assert_eq!(info.name(80 + 26, &mut letters), None);
    }
}
