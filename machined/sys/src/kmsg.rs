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
        let mut room = [0; ROOM];
        self.0.write_all(record(&mut room, level, text)?)
    }
}

/// The urgency before the text, the newline behind it.
const ROOM: usize = MAX + 8;

fn record<'a>(room: &'a mut [u8; ROOM], level: Level, text: &[u8]) -> io::Result<&'a [u8]> {
    const DAEMON: u8 = 3 << 3;
    let mut rest = &mut room[..];
    write!(rest, "<{}>", DAEMON | level as u8)?;
    rest.write_all(&text[..text.len().min(MAX)])?;
    // Without it the record may still be continued, and no reader sees it before the next one is written.
    rest.write_all(b"\n")?;
    let left = rest.len();
    Ok(&room[..ROOM - left])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_whole_and_bounded() {
        let mut room = [0; ROOM];
        assert_eq!(record(&mut room, Level::Error, b"no disk").unwrap(), b"<27>no disk\n");
        let long = record(&mut room, Level::Info, &[b'x'; 2 * MAX]).unwrap();
        assert_eq!((long.len(), long.last()), (MAX + 5, Some(&b'\n')));
    }
}
