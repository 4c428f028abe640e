//! A UKI from its file to its first instruction. It is read once: what was hashed is what is loaded.

use core::ptr;

use boot::{decide::Choice, state::Reject};
use sha2::{Digest, Sha256};
use uefi_raw::{Boolean, Handle, Status};

use crate::{
    esp::Esp,
    firmware::{Firmware, Pages},
    path,
};

/// Read and hashed at a time: half a second of a slow stick, and small beside what drivers are used to.
const PIECE: usize = 1 << 20;

/// Reads the file and compares its length and digest.
pub(crate) fn read(firmware: &Firmware, esp: &Esp, choice: &Choice) -> Result<Pages, Reject> {
    let mut file = esp.file(choice.digest.path().as_str()).ok_or(Reject::Missing)?;
    let size = file.size().ok_or(Reject::Unreadable)?;
    if size == 0 || choice.size.is_some_and(|wanted| wanted != size) {
        return Err(Reject::Length);
    }
    let len = usize::try_from(size).map_err(|_| Reject::Length)?;
    let mut pages = firmware.pages(len).ok_or(Reject::Unloadable)?;
    let mut hash = Sha256::new();
    for piece in pages.chunks_mut(PIECE) {
        match file.read(piece) {
            Some(read) if read == piece.len() => hash.update(piece),
            Some(_) => return Err(Reject::Length),
            None => return Err(Reject::Unreadable),
        }
    }
    if hash.finalize()[..] == choice.digest.0[..] { Ok(pages) } else { Err(Reject::Damaged) }
}

/// Has the firmware check the signature and load it. It is named by its path on the device, which is where it looks for the
/// partition that it was started from.
pub(crate) fn load(firmware: &Firmware, device: &[u8], choice: &Choice, uki: &Pages) -> Result<Handle, Reject> {
    let mut room = firmware.pages(path::LONGEST).ok_or(Reject::Unloadable)?;
    path::with_file(device, choice.digest.path().as_str(), &mut room).ok_or(Reject::Unloadable)?;
    let mut image = ptr::null_mut();
    // SAFETY: the path has its end, the buffer the length that is said, and the answer a place. The firmware copies both.
    let status = unsafe {
        (firmware.boot().load_image)(
            Boolean::FALSE,
            firmware.image,
            room.as_ptr().cast(),
            uki.as_ptr(),
            uki.len(),
            &raw mut image,
        )
    };
    if status.is_success() {
        return Ok(image);
    }
    if !image.is_null() {
        // Loaded, but not to be started (UEFI 2.10, section 7.4.1).
        // SAFETY: the firmware just gave us the handle.
        let _ = unsafe { (firmware.boot().unload_image)(image) };
    }
    match status {
        Status::SECURITY_VIOLATION | Status::ACCESS_DENIED => Err(Reject::Refused),
        _ => Err(Reject::Unloadable),
    }
}

/// Starts it; what it says if it returns, which a UKI does only when it failed.
pub(crate) fn start(firmware: &Firmware, image: Handle) -> Status {
    // SAFETY: an image that was loaded and not started yet; what it has to say besides is not asked for.
    unsafe { (firmware.boot().start_image)(image, ptr::null_mut(), ptr::null_mut()) }
}
