//! The loader: the EFI program that the firmware starts, and that starts a UKI.
//!
//! ```text
//! firmware -> watchdog armed -> boot state (META), entries (ESP) -> boot::decide
//!   -> lowered count written, flushed and read back -> UKI read, hashed, loaded -> watchdog armed again -> UKI
//! ```
//! Which UKI is decided by the crate `boot`; here is only how to read, write and start on a machine with UEFI. Invariants:
//! nothing is written but the boot state's two regions in META, and variables in memory; whatever fails or returns resets
//! the machine. It asks nobody anything.
//!
//! Compiled for Linux, since that is the toolchain there is, and turned into an EFI program by imager: nothing of Linux is in
//! it. The library alone is compiled with the workspace, for lints and tests; `make nodes` builds the program.
#![cfg_attr(not(test), no_std)]
#![allow(unsafe_code, reason = "the firmware's services are functions of C over pointers")]

mod console;
mod entries;
mod esp;
mod exceptions;
mod firmware;
mod machine;
mod meta;
mod path;
mod uki;
mod utf16;
mod variables;

use core::{
    panic::PanicInfo,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use boot::decide;
use uefi_raw::{Handle, table::system::SystemTable};

use console::say;
use firmware::Firmware;
use machine::Machine;

/// As the variable `LoaderInfo` says it.
const NAME: &str = concat!("stele-loader ", env!("CARGO_PKG_VERSION"));

/// Long enough for a UKI from the slowest stick, and for a UKI to come to its kernel. The same as the firmware's own.
const WATCHDOG: usize = 300;

/// For who stands at the console, before the machine tries again.
const READING: usize = 60;

/// Where the firmware's table is, for what is called without it: [`panicked`] and exceptions.
static TABLE: AtomicPtr<SystemTable> = AtomicPtr::new(ptr::null_mut());

/// The whole program.
///
/// # Safety
/// The arguments are those of the entry point, and this is called once.
pub unsafe fn run(image: Handle, table: *const SystemTable) -> ! {
    TABLE.store(table.cast_mut(), Ordering::Relaxed);
    // SAFETY: the caller's promise. Boot services end in the kernel, and nothing of ours runs after that.
    let Some(firmware) = (unsafe { Firmware::new(image, table) }) else { stop() };
    firmware.arm_watchdog(WATCHDOG);
    exceptions::catch(&firmware);
    boot(&firmware);
    firmware.reset()
}

/// Starts something; returns when there is nothing, or when it returned.
fn boot(firmware: &Firmware) {
    let Some(mut machine) = Machine::find(firmware) else {
        say(
            firmware,
            format_args!("the firmware does not say which disk this was started from; trying again in a minute"),
        );
        firmware.wait(READING);
        return;
    };
    let state = machine.state();
    let entries = machine.entries();
    let Some((choice, loaded)) = decide::choose(&mut machine, state.as_ref(), entries.as_slice()) else {
        say(firmware, format_args!("nothing on this disk can be started; trying again in a minute"));
        firmware.wait(READING);
        return;
    };
    machine.tell(&choice);
    firmware.arm_watchdog(WATCHDOG);
    let status = uki::start(firmware, loaded);
    say(firmware, format_args!("what was started came back ({status:?}); resetting"));
}

/// Last words of a program that met a fault of its own, and a reset.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    let Some(firmware) = firmware_now() else { stop() };
    say(&firmware, format_args!("{info}; resetting"));
    firmware.reset()
}

/// The firmware's services, for who was not given them.
fn firmware_now() -> Option<Firmware> {
    // SAFETY: the table is the entry point's, and boot services last: whoever asks runs before the kernel does.
    unsafe { Firmware::new(ptr::null_mut(), TABLE.load(Ordering::Relaxed)) }
}

/// Without the firmware's tables there is no way to reset; the firmware's own watchdog is left.
fn stop() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
