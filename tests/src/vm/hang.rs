//! Telling a hang of the emulator from a fault of the guest.
//!
//! Plain software emulation stops executing a guest once in a while (about one boot in fifteen on a busy machine). Such a
//! run says nothing of the product, so it is its own kind of failure: recognised, counted, and retried once by the
//! runner. Nothing else is retried.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Console, Qmp};
use crate::wait;

/// Hangs seen by this process.
static SEEN: AtomicU32 = AtomicU32::new(0);

/// How long all processors must stand still to call it a hang.
const STILL: Duration = Duration::from_secs(10);

/// Interrupts are taken (the flag IF).
const INTERRUPTS: u64 = 1 << 9;

/// The emulator hung; the guest cannot be blamed.
#[derive(Debug, thiserror::Error)]
#[error("the emulator hung (no processor executes anything); the console ends with:\n{console}")]
pub struct EmulatorHang {
    /// The end of the console.
    pub console: String,
}

/// How many hangs of the emulator were seen so far.
pub fn count() -> u32 {
    SEEN.load(Ordering::Relaxed)
}

/// Whether it is the emulator that hangs: it runs, but over some seconds nothing is printed, and no processor's state
/// changes, though one of them should go on. A guest that waits is woken by its clock, and one that spins changes its
/// registers; one that halted all its processors for good stands still by its own will.
pub(super) fn is_emulator(console: &Console, qmp: &Qmp) -> bool {
    let printed = console.len();
    let Some(first) = registers(qmp) else { return true };
    // Several looks: a processor that is woken once a second could be seen twice in the same idle loop.
    let changed = wait::until("a processor to move", STILL, || match registers(qmp) {
        Some(now) if now == first && console.len() == printed => None,
        Some(_) => Some(true),
        None => Some(false),
    });
    let hung = match changed {
        Ok(moved) => !moved,
        Err(_) => !halted_for_good(&first),
    };
    if hung {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
    hung
}

/// All processors' registers as text; nothing when the monitor itself does not answer.
fn registers(qmp: &Qmp) -> Option<String> {
    qmp.human("info registers -a").ok()
}

/// Whether every processor is halted and takes no interrupts: nothing but a reset wakes it.
fn halted_for_good(registers: &str) -> bool {
    let mut processors = registers.split("CPU#").skip(1).peekable();
    processors.peek().is_some() && processors.all(|one| field(one, "HLT=") == Some(1) && is_deaf(one))
}

fn is_deaf(processor: &str) -> bool {
    let flags = field(processor, "RFL=").or_else(|| field(processor, "EFL="));
    flags.is_some_and(|flags| flags & INTERRUPTS == 0)
}

/// The hexadecimal number behind a name.
fn field(text: &str, name: &str) -> Option<u64> {
    let (_, rest) = text.split_once(name)?;
    let digits = rest.split(|letter: char| !letter.is_ascii_hexdigit()).next()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As QEMU 7.2 prints them, without what does not matter here.
    fn processor(number: u32, flags: &str, halted: u32) -> String {
        format!(
            "CPU#{number}\r\nRAX=0000000000000000 R15=0000000000000000\r\nRIP=ffffffff81e0a0bb {flags} [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT={halted}\r\nES =0000 0\r\n\r\n"
        )
    }

    #[test]
    fn a_guest_that_halted_for_good_is_told_from_one_that_waits_or_should_run() {
        let deaf = processor(0, "RFL=00000046", 1);
        let waits = processor(1, "RFL=00000246", 1);
        let runs = processor(1, "EFL=00000046", 0);
        assert!(halted_for_good(&deaf));
        assert!(halted_for_good(&format!("{deaf}{}", processor(1, "EFL=00000002", 1))));
        assert!(!halted_for_good(&format!("{deaf}{waits}")), "a clock wakes the second one");
        assert!(!halted_for_good(&format!("{deaf}{runs}")), "the second one executes");
        assert!(!halted_for_good(""), "nothing is known");
    }
}
