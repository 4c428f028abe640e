//! Variables of the UEFI firmware, as efivarfs shows them: four bytes of attributes, then the value. Read only,
//! but for [`entry`].

pub mod entry;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sys::mount;

/// Vendor of what boot loaders tell the system (systemd's Boot Loader Interface).
pub const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Vendor of UEFI's own variables.
pub const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Longest value that is read: ours are paths and GUIDs.
const VALUE_MAX: u64 = 4096;

/// The firmware's variables.
#[derive(Clone, Debug)]
pub struct Variables {
    dir: PathBuf,
}

impl Variables {
    /// Those under `sys`, usually /sys.
    pub fn new(sys: &Path) -> Self {
        Self { dir: sys.join("firmware/efi/efivars") }
    }

    /// Whether the firmware is UEFI.
    pub fn is_efi(&self) -> bool {
        self.dir.parent().is_some_and(Path::is_dir)
    }

    /// Whether they can be read: the file system is mounted.
    pub fn is_mounted(&self) -> bool {
        fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_some())
    }

    fn path(&self, name: &str, vendor: &str) -> PathBuf {
        self.dir.join(format!("{name}-{vendor}"))
    }

    /// The bytes of a variable; none when it is not set.
    pub fn get(&self, name: &str, vendor: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match fs::File::open(self.path(name, vendor)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        file.take(4 + VALUE_MAX).read_to_end(&mut bytes)?;
        // Fewer than the attributes: the variable is being deleted.
        Ok((bytes.len() >= 4).then(|| bytes.split_off(4)))
    }

    /// A variable that holds text, which firmware writes as UTF-16 that ends with a zero.
    pub fn text(&self, name: &str, vendor: &str) -> io::Result<Option<String>> {
        Ok(self.get(name, vendor)?.map(|bytes| utf16(&bytes)))
    }

    /// GUID of the partition from which the firmware read our kernel; lower case.
    pub fn booted_from(&self) -> io::Result<Option<String>> {
        Ok(self.text("StubDevicePartUUID", LOADER)?.map(|guid| guid.trim().to_ascii_lowercase()))
    }
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units.take_while(|unit| *unit != 0)).map(|c| c.unwrap_or('\u{fffd}')).collect()
}

/// Mounts efivarfs once its module is there; read-only until somebody has to write. Mounted already is fine.
pub fn ensure_mounted(sys: &Path) -> Result<(), mount::Error> {
    let variables = Variables::new(sys);
    if variables.is_mounted() {
        return Ok(());
    }
    let on = variables.dir;
    let flags = mount::Flags::NOSUID | mount::Flags::NODEV | mount::Flags::NOEXEC | mount::Flags::RDONLY;
    mount::new("efivarfs", Path::new("efivarfs"), &on, flags, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_stub_left() {
        let dir = tempfile::tempdir().unwrap();
        let variables = Variables::new(dir.path());
        assert!(!variables.is_efi());
        let path = dir.path().join("firmware/efi/efivars");
        fs::create_dir_all(&path).unwrap();
        assert!(variables.is_efi());
        assert_eq!(variables.booted_from().unwrap(), None);
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend("ABCD-01\0junk".encode_utf16().flat_map(u16::to_le_bytes));
        fs::write(path.join(format!("StubDevicePartUUID-{LOADER}")), &bytes).unwrap();
        assert_eq!(variables.booted_from().unwrap().as_deref(), Some("abcd-01"));
        fs::write(path.join(format!("StubDevicePartUUID-{LOADER}")), [6, 0]).unwrap();
        assert_eq!(variables.booted_from().unwrap(), None);
        fs::write(path.join(format!("StubDevicePartUUID-{LOADER}")), [6, 0, 0, 0, 0, 0xd8, 65]).unwrap();
        assert_eq!(variables.booted_from().unwrap().as_deref(), Some("\u{fffd}"));
    }

    fuzz::targets! {
        efi_text: |bytes| assert!(!utf16(bytes).contains('\0')),
    }
}
