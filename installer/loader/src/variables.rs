//! What the operating system is told: variables of the Boot Loader Interface, as every Linux loader sets them. They are in
//! memory alone and end with this boot; a firmware that refuses them stops nothing.

use core::fmt::{self, Write};

use uefi_raw::{Guid, guid, table::runtime::VariableAttributes};

use crate::{firmware::Firmware, utf16};

const VENDOR: Guid = guid!("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");

/// Sets one to a text (UTF-16 with its end), of at most 127 letters.
pub(crate) fn set(firmware: &Firmware, name: &str, value: fmt::Arguments<'_>) {
    let (mut key, mut text) = (utf16::Text::<64>::new(), utf16::Text::<128>::new());
    if key.write_str(name).is_err() || text.write_fmt(value).is_err() {
        return;
    }
    let (key, text) = (key.with_end(), text.with_end());
    let attributes = VariableAttributes::BOOTSERVICE_ACCESS | VariableAttributes::RUNTIME_ACCESS;
    // SAFETY: name and value are ours and valid for the call, and their lengths are right.
    let _ = unsafe {
        (firmware.runtime().set_variable)(key.as_ptr(), &VENDOR, attributes, size_of_val(text), text.as_ptr().cast())
    };
}
