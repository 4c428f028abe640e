//! What PID 1 says: to the kernel log, and on the console so that it is seen with `quiet` too. Never blocks, never fails: a
//! machine without screen and serial port boots all the same. No allocation.

use std::fmt::{Arguments, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use sys::kmsg::{Level, Log};

/// /dev/kmsg and /dev/console, each if there.
#[derive(Debug, Default)]
pub struct Console {
    log: Option<Log>,
    screen: Option<File>,
}

/// One line in a fixed buffer; what is too long is cut.
struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Console {
    /// Opens what there is.
    #[must_use]
    pub fn open() -> Self {
        // O_NONBLOCK (0o4000) so that a stuck terminal cannot stop PID 1, O_NOCTTY (0o400) so that its Ctrl-C is no signal.
        let screen = OpenOptions::new().write(true).custom_flags(0o4400).open("/dev/console").ok();
        Self { log: Log::open().ok(), screen }
    }

    /// Says everything to this file alone (tests).
    #[must_use]
    pub fn to(file: File) -> Self {
        Self { log: None, screen: Some(file) }
    }

    /// A line for the kernel log and the console.
    pub fn say(&mut self, text: Arguments<'_>) {
        self.line(Level::Notice, text, true);
    }

    /// The same for what went wrong.
    pub fn warn(&mut self, text: Arguments<'_>) {
        self.line(Level::Warning, text, true);
    }

    /// Something that ends the boot: on every console, whatever the kernel's loglevel.
    pub fn fatal(&mut self, text: Arguments<'_>) {
        self.line(Level::Critical, text, true);
    }

    /// For the kernel log alone.
    pub fn note(&mut self, level: Level, text: Arguments<'_>) {
        self.line(level, text, false);
    }

    /// A line of machined's output: for the kernel log, or where there is none, the console.
    pub fn relay(&mut self, level: Level, text: &[u8]) {
        let shown = self.log.as_mut().is_some_and(|log| log.write(level, text).is_ok());
        if !shown && let Some(screen) = &mut self.screen {
            let _ = screen.write_all(text).and_then(|()| screen.write_all(b"\n"));
        }
    }

    fn line(&mut self, level: Level, text: Arguments<'_>, screen: bool) {
        let mut line = Line { bytes: [0; 512], len: 0 };
        // Cutting is all that can go wrong.
        let _ = write!(line, "stele: {text}");
        if let Some(log) = &mut self.log {
            let _ = log.write(level, &line.bytes[..line.len]);
        }
        if screen && let Some(console) = &mut self.screen {
            let end = line.len.min(line.bytes.len() - 1);
            line.bytes[end] = b'\n';
            let _ = console.write_all(&line.bytes[..=end]);
        }
    }
}

impl std::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = &mut self.bytes[self.len..];
        let cut = text.len().min(room.len());
        room[..cut].copy_from_slice(&text.as_bytes()[..cut]);
        self.len += cut;
        Ok(())
    }
}
