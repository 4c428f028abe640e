//! A processor exception resets the machine. Left alone, firmware made of EDK2 stops for ever at one, with its watchdog
//! asleep; a damaged kernel in a UKI without Secure Boot is enough for that.
//!
//! Best effort: the protocol is of the Platform Initialization specification (volume 2, section 12.3), which a firmware need
//! not follow. After the kernel has taken over it is the kernel's matter.

use core::{ffi::c_void, ptr};

use uefi_raw::{Guid, Status, guid, table::runtime::ResetType};

use crate::firmware::Firmware;

const CPU_ARCH: Guid = guid!("26baccb1-6f42-11d4-bce7-0080c73c8881");

/// The x86 processor's exceptions; above are interrupts.
const EXCEPTIONS: isize = 32;

type Handler = extern "efiapi" fn(kind: isize, context: *const c_void);

/// EFI_CPU_ARCH_PROTOCOL up to the one function that is called.
#[repr(C)]
struct CpuArch {
    flush_data_cache: *const c_void,
    enable_interrupt: *const c_void,
    disable_interrupt: *const c_void,
    get_interrupt_state: *const c_void,
    init: *const c_void,
    register_interrupt_handler: unsafe extern "efiapi" fn(this: *mut Self, kind: isize, handler: Handler) -> Status,
}

/// From here on.
pub(crate) fn catch(firmware: &Firmware) {
    let Some(found) = firmware.only(&CPU_ARCH) else { return };
    let cpu: *mut CpuArch = found.as_ptr().cast();
    for kind in 0..EXCEPTIONS {
        // SAFETY: what is under that GUID is such a protocol, and the handler stays in memory while boot services last. One
        // that is taken (the firmware's own) is refused, and stays.
        let _ = unsafe { ((*cpu).register_interrupt_handler)(cpu, kind, reset) };
    }
}

/// Says nothing: the console may be what failed.
extern "efiapi" fn reset(_: isize, _: *const c_void) {
    if let Some(firmware) = crate::firmware_now() {
        // SAFETY: no data is passed.
        unsafe { (firmware.runtime().reset_system)(ResetType::COLD, Status::ABORTED, 0, ptr::null()) }
    }
}
