//! A program's start without the standard library's own set-up. For init: that set-up aborts where /dev/null cannot be opened
//! yet (a kernel without any console starts /init so), and drags in a fifth of the program.

/// Makes a function the program's start; it goes into a `#![no_main]` program, once. Returning from it is failure.
#[macro_export]
macro_rules! entry {
    ($start:path) => {
        // SAFETY: the C library calls the one symbol of this name once, with everything it needs set up; linking fails when
        // there are two.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ::std::ffi::c_int {
            $start();
            1
        }
    };
}
