//! The entry point. Everything else is in the library, where clippy and the tests of the host see it.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "the firmware calls this and passes pointers")]

mod mem;

use core::panic::PanicInfo;

use uefi_raw::{Handle, Status, table::system::SystemTable};

/// What the firmware calls (UEFI 2.10, section 4.1). It does not return: whatever happens ends in a reset.
#[unsafe(no_mangle)]
extern "efiapi" fn efi_main(image: Handle, table: *const SystemTable) -> Status {
    // SAFETY: these are the arguments of the entry point, and this is its one call.
    unsafe { loader::run(image, table) }
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    loader::panicked(info)
}
