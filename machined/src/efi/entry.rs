//! The one boot entry of ours among the firmware's (UEFI 2.10, section 3.1): where variables can be written it names the disk that
//! is to be started. Nothing depends on it: the loader lies where every firmware looks.
//!
//! Invariant: there is one entry of ours, never more; those of others stay as they are. efivarfs is writable just for it.

use std::fs;
use std::io;
use std::path::Path;

use ::boot::Guid;
use sys::mount::{self, Flags};

use super::{GLOBAL, Variables};

/// What it is called; by this it is known again.
const NAME: &str = "Stele";
/// The loader, in the firmware's spelling.
const FILE: &str = r"\EFI\BOOT\BOOTX64.EFI";
/// Non-volatile, for firmware and system.
const KEPT: u32 = 7;
/// LOAD_OPTION_ACTIVE.
const ACTIVE: u32 = 1;

/// An EFI partition: the first one of a GPT disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its GUID.
    pub guid: String,
    /// Its first sector.
    pub start: u64,
    /// Its sectors.
    pub sectors: u64,
}

/// Why the firmware was not told.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("this machine was not started by UEFI firmware")]
    NoFirmware,
    #[error("{0} is no GUID")]
    Guid(String),
    #[error("all numbers of boot entries are taken")]
    Full,
    #[error(transparent)]
    Mount(#[from] mount::Error),
    #[error("cannot {verb} the firmware's variable {name}")]
    Variable {
        verb: &'static str,
        name: String,
        #[source]
        source: io::Error,
    },
}

/// Has the firmware start from there next, and before all else later. Blocking.
///
/// # Errors
/// The firmware's variables cannot be read or written; entries of others are as they were.
pub fn start_from(sys: &Path, place: &Place) -> Result<(), Error> {
    let variables = Variables::new(sys);
    if !variables.is_efi() {
        return Err(Error::NoFirmware);
    }
    super::ensure_mounted(sys)?;
    let flags = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
    mount::remount(&variables.dir, flags, "")?;
    let told = tell(&variables, place);
    if let Err(error) = mount::remount(&variables.dir, flags | Flags::RDONLY, "") {
        tracing::warn!("{}", crate::trace::chain(&error));
    }
    told
}

fn tell(variables: &Variables, place: &Place) -> Result<(), Error> {
    let guid = Guid::parse(&place.guid).ok_or_else(|| Error::Guid(place.guid.clone()))?;
    let wanted = option(guid, place);
    let mut ours = Vec::new();
    let mut taken = Vec::new();
    for number in numbers(variables)? {
        let name = format!("Boot{number:04X}");
        let known = variables.get(&name, GLOBAL).map_err(failed("read", &name))?;
        taken.push(number);
        if known.is_some_and(|known| is_ours(&known)) {
            ours.push(number);
        }
    }
    let number = ours.first().copied().or_else(|| (0..=u16::MAX).find(|number| !taken.contains(number)));
    let number = number.ok_or(Error::Full)?;
    let name = format!("Boot{number:04X}");
    if variables.get(&name, GLOBAL).map_err(failed("read", &name))?.as_deref() != Some(&wanted) {
        put(variables, &name, &wanted)?;
    }
    let before = variables.get("BootOrder", GLOBAL).map_err(failed("read", "BootOrder"))?.unwrap_or_default();
    let order = order(&before, number, ours.get(1..).unwrap_or_default());
    if order != before {
        put(variables, "BootOrder", &order)?;
    }
    for other in ours.iter().skip(1) {
        let name = format!("Boot{other:04X}");
        fs::remove_file(variables.path(&name, GLOBAL)).map_err(failed("delete", &name))?;
    }
    put(variables, "BootNext", &number.to_le_bytes())
}

fn failed(verb: &'static str, name: &str) -> impl FnOnce(io::Error) -> Error {
    let name = name.to_owned();
    move |source| Error::Variable { verb, name, source }
}

/// One write, as efivarfs wants it: the attributes first.
fn put(variables: &Variables, name: &str, value: &[u8]) -> Result<(), Error> {
    let bytes = [&KEPT.to_le_bytes()[..], value].concat();
    fs::write(variables.path(name, GLOBAL), bytes).map_err(failed("write", name))
}

/// The numbers of the boot entries there are.
fn numbers(variables: &Variables) -> Result<Vec<u16>, Error> {
    let entries = fs::read_dir(&variables.dir).map_err(failed("list", "Boot####"))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut numbers: Vec<u16> = names.filter_map(|name| number(&name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// `Boot001A-8be4df61-…`.
fn number(file: &str) -> Option<u16> {
    let (digits, vendor) = file.strip_prefix("Boot")?.split_once('-')?;
    let hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    (hex && vendor == GLOBAL).then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

/// The order with ours first, and without those that go.
fn order(before: &[u8], ours: u16, gone: &[u16]) -> Vec<u8> {
    let before = before.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    let others = before.filter(|number| *number != ours && !gone.contains(number));
    std::iter::once(ours).chain(others).flat_map(u16::to_le_bytes).collect()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// EFI_LOAD_OPTION: attributes, length of the path, name, path.
fn option(guid: Guid, place: &Place) -> Vec<u8> {
    let mut path = Vec::new();
    // Media, hard drive: number, start, sectors, GUID, "GPT", "by GUID" (10.3.5.1).
    path.extend([4, 1, 42, 0]);
    path.extend(1u32.to_le_bytes());
    path.extend(place.start.to_le_bytes());
    path.extend(place.sectors.to_le_bytes());
    path.extend(guid.0);
    path.extend([2, 2]);
    // Media, file (10.3.5.4).
    let file = utf16(FILE);
    path.extend([4, 4]);
    path.extend((4 + file.len()).to_le_bytes()[..2].iter());
    path.extend(file);
    // The end of it.
    path.extend([0x7f, 0xff, 4, 0]);
    let mut option = ACTIVE.to_le_bytes().to_vec();
    option.extend(path.len().to_le_bytes()[..2].iter());
    option.extend(utf16(NAME));
    option.extend(path);
    option
}

/// Whether an entry has our name.
fn is_ours(option: &[u8]) -> bool {
    option.get(6..).is_some_and(|rest| rest.starts_with(&utf16(NAME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(start: u64) -> Place {
        Place { guid: "01020304-0506-0708-090a-0b0c0d0e0f10".into(), start, sectors: 4096 }
    }

    fn firmware() -> (tempfile::TempDir, Variables) {
        let sys = tempfile::tempdir().unwrap();
        let variables = Variables::new(sys.path());
        fs::create_dir_all(&variables.dir).unwrap();
        (sys, variables)
    }

    #[test]
    fn one_entry_of_ours_comes_first_and_those_of_others_stay() {
        let (_sys, variables) = firmware();
        let theirs =
            [&ACTIVE.to_le_bytes()[..], &[4, 0], &utf16("Stele of another kind"), &[0x7f, 0xff, 4, 0]].concat();
        put(&variables, "Boot0000", &theirs).unwrap();
        put(&variables, "BootOrder", &[0, 0]).unwrap();
        tell(&variables, &place(2048)).unwrap();
        let get = |name: &str| variables.get(name, GLOBAL).unwrap();
        assert_eq!((get("BootNext"), get("BootOrder")), (Some(vec![1, 0]), Some(vec![1, 0, 0, 0])));
        assert_eq!(get("Boot0000"), Some(theirs.clone()));

        // What an older disk left: one stays, and says what is right now.
        put(&variables, "Boot0007", &option(Guid::ZERO, &place(1))).unwrap();
        put(&variables, "BootOrder", &[7, 0, 0, 0, 1, 0]).unwrap();
        tell(&variables, &place(256)).unwrap();
        assert_eq!((get("Boot0007"), get("BootOrder")), (None, Some(vec![1, 0, 0, 0])));
        assert_eq!(get("Boot0001"), Some(option(Guid::parse(&place(0).guid).unwrap(), &place(256))));
    }

    #[test]
    fn the_entry_is_as_the_specification_says() {
        let bytes = option(Guid::parse(&place(0).guid).unwrap(), &place(2048));
        let length = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        let path = &bytes[bytes.len() - length..];
        assert_eq!(bytes.len(), 6 + 12 + length);
        assert_eq!(&path[..8], [4, 1, 42, 0, 1, 0, 0, 0]);
        assert_eq!(&path[8..24], [0, 8, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&path[24..28], [4, 3, 2, 1]);
        assert_eq!(&path[40..44], [2, 2, 4, 4]);
        assert_eq!(usize::from(u16::from_le_bytes([path[44], path[45]])), length - 42 - 4);
        assert!(is_ours(&bytes) && !is_ours(&bytes[..10]));
        for (name, wanted) in [
            (format!("Boot001A-{GLOBAL}"), Some(0x1a)),
            (format!("Boot001a-{GLOBAL}"), None),
            (format!("BootOrder-{GLOBAL}"), None),
            ("Boot0001-x".to_owned(), None),
        ] {
            assert_eq!(number(&name), wanted, "{name}");
        }
    }
}
