//! META and boot-state formats.
#![cfg_attr(not(test), no_std)]
