//! Lines on the firmware's console. There may be none, and nothing depends on it.

use core::fmt::{self, Write};

use uefi_raw::protocol::console::SimpleTextOutputProtocol;

use crate::firmware::Firmware;

/// Characters that are passed on at once.
const ROOM: usize = 80;

/// Where text goes; see [`say`].
pub(crate) struct Console {
    output: *mut SimpleTextOutputProtocol,
    /// UCS-2, with room for the end.
    text: [u16; ROOM + 1],
    len: usize,
}

impl Console {
    pub(crate) fn new(firmware: &Firmware) -> Self {
        Self { output: firmware.table.stdout, text: [0; ROOM + 1], len: 0 }
    }

    fn push(&mut self, letter: u16) {
        if self.len == ROOM {
            self.flush();
        }
        self.text[self.len] = letter;
        self.len += 1;
    }

    fn flush(&mut self) {
        self.text[self.len] = 0;
        self.len = 0;
        // SAFETY: where the firmware has a console, the table points at it for as long as boot services last.
        if let Some(output) = unsafe { self.output.as_ref() } {
            // SAFETY: the text has an end, and the firmware only reads it.
            let _ = unsafe { (output.output_string)(self.output, self.text.as_ptr()) };
        }
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if letter == '\n' {
                self.push(u16::from(b'\r'));
            }
            // the console knows no letters of two units
            self.push(u16::try_from(u32::from(letter)).unwrap_or(u16::from(b'?')));
        }
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.flush();
    }
}

/// One line, after the name of this program.
pub(crate) fn say(firmware: &Firmware, line: fmt::Arguments<'_>) {
    let mut console = Console::new(firmware);
    // the console itself never fails
    let _ = writeln!(console, "stele-loader: {line}");
}
