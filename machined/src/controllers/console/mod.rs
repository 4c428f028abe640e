//! The status page on the screen and on the serial line.
