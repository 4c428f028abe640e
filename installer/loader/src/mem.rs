//! The functions that compiled code calls without saying so (C11, 7.24), which a program without a C library brings itself. In
//! instructions, since a compiler makes calls of these very functions out of loops that do the same.

use core::arch::asm;

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: both are valid for `len` bytes: the caller's promise. The direction flag is clear, as the calling convention says.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= len {
        // SAFETY: upwards, no byte is written before it is read.
        return unsafe { memcpy(to, from, len) };
    }
    // SAFETY: see `memcpy`; downwards, from the last bytes, which are there: `len` is not 0. The direction flag is set back.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") len => _, inout("rdi") to.add(len - 1) => _,
            inout("rsi") from.add(len - 1) => _, options(nostack));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    // SAFETY: see `memcpy`.
    unsafe {
        asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") value.to_le_bytes()[0],
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, len: usize) -> i32 {
    let (a, b): (u32, u32);
    // Stops behind the first bytes that differ; what was compared last is compared once more, as numbers. With a length of 0
    // nothing is read.
    // SAFETY: see `memcpy`; nothing is written.
    unsafe {
        asm!("xor {a:e}, {a:e}", "xor {b:e}, {b:e}", "test rcx, rcx", "jz 2f", "repe cmpsb",
            "movzx {a:e}, byte ptr [rsi - 1]", "movzx {b:e}, byte ptr [rdi - 1]", "2:",
            a = out(reg) a, b = out(reg) b,
            inout("rcx") len => _, inout("rsi") one => _, inout("rdi") other => _, options(nostack, readonly));
    }
    // 0 to 255
    a.cast_signed() - b.cast_signed()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, len: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(one, other, len) }
}
