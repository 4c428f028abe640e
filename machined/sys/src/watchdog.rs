//! The hardware watchdog (Documentation/watchdog/watchdog-api.rst). Invariant: while the device is open somebody has to keep
//! feeding it, or the machine resets; that somebody is init.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;

const SET_TIMEOUT: libc::Ioctl = 0xC004_5706;
const GET_TIMEOUT: libc::Ioctl = 0x8004_5707;
const KEEP_ALIVE: libc::Ioctl = 0x8004_5705;

/// An armed watchdog. Dropping it leaves it armed: a dead init must reset the machine.
#[derive(Debug)]
pub struct Watchdog(File);

impl Watchdog {
    /// Opens and thereby arms the first one. NotFound: there is none (yet).
    pub fn open() -> io::Result<Self> {
        OpenOptions::new().write(true).open("/dev/watchdog0").map(Self)
    }

    /// Sets the seconds without food after which the machine resets; says what the device made of it.
    pub fn set_timeout(&self, seconds: c_int) -> io::Result<c_int> {
        let mut value = seconds;
        match self.ioctl(SET_TIMEOUT, &mut value) {
            Ok(()) => Ok(value),
            // Some devices have one fixed time.
            Err(_) => self.ioctl(GET_TIMEOUT, &mut value).map(|()| value),
        }
    }

    /// Feeds it.
    pub fn keep_alive(&self) -> io::Result<()> {
        self.ioctl(KEEP_ALIVE, &mut 0)
    }

    /// Disarms and closes it (the magic 'V'); a device built with "nowayout" stays armed.
    pub fn disarm(mut self) -> io::Result<()> {
        self.0.write_all(b"V")
    }

    fn ioctl(&self, request: libc::Ioctl, value: &mut c_int) -> io::Result<()> {
        // SAFETY: the three requests take a pointer to an int, which `value` is.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), request, std::ptr::from_mut(value)) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}
