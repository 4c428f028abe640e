//! Hands a target to libFuzzer, which is compiled into the test program by `make fuzz`: `PROGRAM --exact NAME -- FLAGS`.
//! What stands behind `--` are filters to the test harness that fit no test, and flags to libFuzzer.
#![allow(unsafe_code)]

use std::{
    env,
    ffi::{CString, c_char, c_int},
    panic, process, ptr, slice,
    sync::OnceLock,
};

// For its C++ part.
use libfuzzer_sys as _;

type Callback = extern "C" fn(*const u8, usize) -> c_int;

unsafe extern "C" {
    /// FuzzerInterface.h.
    fn LLVMFuzzerRunDriver(argc: *mut c_int, argv: *mut *mut *mut c_char, callback: Callback) -> c_int;
}

/// The one target that this process fuzzes.
static CHECK: OnceLock<fn(&[u8])> = OnceLock::new();

extern "C" fn one(bytes: *const u8, len: usize) -> c_int {
    // SAFETY: libFuzzer gives `len` bytes that live as long as this call; none are given as a null pointer.
    let bytes = if len == 0 { &[] } else { unsafe { slice::from_raw_parts(bytes, len) } };
    if let Some(check) = CHECK.get() {
        check(bytes);
    }
    0
}

/// Whether there are flags for libFuzzer.
pub(crate) fn is_wanted() -> bool {
    env::args().any(|argument| argument == "--")
}

/// Fuzzes until the flags say that it is enough; ends the process when an input fails.
pub(crate) fn run(check: fn(&[u8])) {
    CHECK.get_or_init(|| check);
    // libFuzzer keeps the input when the process is aborted; a panic that is caught would be none to it.
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        say(what);
        process::abort();
    }));
    // To merge corpora it starts itself again, by a shell, with its first argument as the program.
    let mut given = env::args();
    let before: Vec<_> = given.by_ref().take_while(|argument| argument != "--").collect();
    let program = format!("{} --", before.join(" "));
    let owned: Vec<_> = std::iter::once(program).chain(given).filter_map(|text| CString::new(text).ok()).collect();
    let mut pointers: Vec<*mut c_char> = owned.iter().map(|text| text.as_ptr().cast_mut()).collect();
    let mut argc = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
    pointers.push(ptr::null_mut());
    let mut argv = pointers.as_mut_ptr();
    // SAFETY: as main gets them: `argc` strings, a null pointer behind, all of which outlive the call. It changes the
    // array of pointers at most, never the strings.
    let code = unsafe { LLVMFuzzerRunDriver(&raw mut argc, &raw mut argv, one) };
    assert_eq!(code, 0, "libFuzzer failed");
}
