//! machined's standard output and error: one pipe for all its lives, relayed line by line to the kernel log. A leading `<N>`
//! gives the line's level. Constant memory: a longer line is cut into several.

use crate::Console;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::kmsg::{self, Level};

#[derive(Debug)]
pub(crate) struct Output {
    reader: OwnedFd,
    writer: OwnedFd,
    line: [u8; kmsg::MAX],
    len: usize,
}

impl Output {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Self { reader: reader.into(), writer: writer.into(), line: [0; kmsg::MAX], len: 0 })
    }

    /// What machined gets as its standard output and error.
    pub(crate) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// What to poll.
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Relays what has come; at most 4 KiB a turn, so that a flood cannot hold PID 1.
    pub(crate) fn relay(&mut self, console: &mut Console) {
        let mut bytes = [0; 4096];
        let Ok(n) = rustix::io::read(&self.reader, &mut bytes) else { return };
        for byte in &bytes[..n] {
            if *byte == b'\n' || self.len == self.line.len() {
                self.flush(console);
            }
            if *byte != b'\n' {
                self.line[self.len] = *byte;
                self.len += 1;
            }
        }
    }

    /// Relays an unfinished line: its writer is dead.
    pub(crate) fn flush(&mut self, console: &mut Console) {
        if self.len > 0 {
            let (level, text) = level(&self.line[..self.len]);
            console.relay(level, text);
        }
        self.len = 0;
    }
}

/// The form of sd-daemon(3): `<3>text`.
fn level(line: &[u8]) -> (Level, &[u8]) {
    match line {
        [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => {
            let level = match digit {
                b'0'..=b'2' => Level::Critical,
                b'3' => Level::Error,
                b'4' => Level::Warning,
                b'5' => Level::Notice,
                _ => Level::Info,
            };
            (level, text)
        }
        text => (Level::Info, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn relays_whole_lines_cuts_long_ones_and_flushes_the_rest() {
        let mut file = tempfile::tempfile().unwrap();
        let mut console = Console::to(file.try_clone().unwrap());
        let mut output = Output::new().unwrap();
        let mut writer = std::fs::File::from(output.writer().try_clone_to_owned().unwrap());
        writer.write_all(b"one\n<3>tw").unwrap();
        output.relay(&mut console);
        writer.write_all(b"o\n").unwrap();
        writer.write_all(&[b'x'; kmsg::MAX + 1]).unwrap();
        output.relay(&mut console);
        output.relay(&mut console);
        output.flush(&mut console);
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("one\ntwo\n{}\nx\n", "x".repeat(kmsg::MAX)));
    }

    #[test]
    fn levels() {
        assert_eq!(level(b"<4>a"), (Level::Warning, &b"a"[..]));
        assert_eq!(level(b"<9>a"), (Level::Info, &b"<9>a"[..]));
        assert_eq!(level(b"a"), (Level::Info, &b"a"[..]));
    }
}
