//! Records for the kernel log, one write each; the kernel stamps them and shows them on the console by its loglevel.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

/// Longest text of one record: the kernel refuses more than about 1 KiB.
pub const MAX: usize = 960;

/// Urgency, as in syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "syslog's own words")]
pub enum Level {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// An open /dev/kmsg.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    /// Opens it; never blocks later.
    pub fn open() -> io::Result<Self> {
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").map(Self)
    }

    /// Writes one record as facility "daemon", cut at [`MAX`]; allocates nothing.
    pub fn write(&mut self, level: Level, text: &[u8]) -> io::Result<()> {
        const DAEMON: u8 = 3 << 3;
        let mut record = [0; MAX + 8];
        let mut rest = &mut record[..];
        write!(rest, "<{}>", DAEMON | level as u8)?;
        let cut = text.len().min(MAX);
        rest.write_all(&text[..cut])?;
        let left = rest.len();
        let len = MAX + 8 - left;
        self.0.write_all(&record[..len])
    }
}
