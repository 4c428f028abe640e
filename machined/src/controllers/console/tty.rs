//! A console device and the thread that writes to it.
//!
//! Invariant: nobody waits for a console. The thread takes the newest page or the collected lines; a device that takes no
//! bytes loses them; one that is not there is tried again with the next.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::termios::{InputModes, LocalModes, OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};

use super::page::{Size, draw, page};
use super::view::View;

/// How long one page or some lines may take: 4 KiB at 115200 baud take a third of a second.
const WITHIN: Duration = Duration::from_secs(2);
/// Lines for a device that takes none are kept up to here, then lost.
const LINES_MAX: usize = 16 << 10;
/// The thread does little.
const STACK: usize = 128 << 10;

#[derive(Default)]
struct Work {
    page: Option<View>,
    lines: String,
    end: bool,
}

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    new: Condvar,
}

/// One console. Dropping it ends its thread after the write under way.
pub struct Console {
    shared: Arc<Shared>,
}

impl Console {
    /// Starts its thread; the device is opened there.
    pub fn start(device: PathBuf) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut writer = Writer { shared: shared.clone(), device, file: None };
        thread::Builder::new().name("console".into()).stack_size(STACK).spawn(move || writer.run())?;
        Ok(Self { shared })
    }

    /// Draws a page, in place of any that is not drawn yet.
    pub fn page(&self, view: View) {
        self.give(|work| work.page = Some(view));
    }

    /// Says lines, after those that are not said yet.
    pub fn lines(&self, lines: &[String]) {
        self.give(|work| {
            for line in lines {
                if work.lines.len() + line.len() < LINES_MAX {
                    work.lines.push_str(line);
                    work.lines.push_str("\r\n");
                }
            }
        });
    }

    fn give(&self, change: impl FnOnce(&mut Work)) {
        change(&mut self.shared.work.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.new.notify_one();
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.give(|work| work.end = true);
    }
}

struct Writer {
    shared: Arc<Shared>,
    device: PathBuf,
    /// Never closed on an error: closing a serial port waits until it has sent what it holds.
    file: Option<File>,
}

impl Writer {
    fn run(&mut self) {
        while let Some(work) = self.next() {
            if let Err(error) = self.write(&work) {
                tracing::debug!("console {}: {error}", self.device.display());
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut work = self.shared.work.lock().unwrap_or_else(PoisonError::into_inner);
        while work.page.is_none() && work.lines.is_empty() && !work.end {
            work = self.shared.new.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        let took = std::mem::take(&mut *work);
        (!took.end || took.page.is_some() || !took.lines.is_empty()).then(|| {
            work.end = took.end;
            took
        })
    }

    fn write(&mut self, work: &Work) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.device)?),
        };
        if let Some(view) = &work.page {
            go_on(file)?;
            write_within(file, &draw(&page(view, size(file))), WITHIN)?;
        }
        write_within(file, work.lines.as_bytes(), WITHIN)
    }
}

/// Opens without waiting for a carrier and without becoming anybody's terminal. Typed keys are neither shown nor obeyed.
fn open(device: &PathBuf) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(device)?;
    let mut modes = tcgetattr(&file)?;
    modes.local_modes -=
        LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    // Ctrl-S at the keyboard must not stop the output.
    modes.input_modes -= InputModes::IXON | InputModes::IXOFF;
    tcsetattr(&file, OptionalActions::Now, &modes)?;
    Ok(file)
}

/// The key Scroll Lock stops a screen whatever its modes are; giving flow control up lets it go on.
fn go_on(file: &File) -> io::Result<()> {
    let mut modes = tcgetattr(file)?;
    modes.input_modes |= InputModes::IXON;
    tcsetattr(file, OptionalActions::Now, &modes)?;
    modes.input_modes -= InputModes::IXON;
    Ok(tcsetattr(file, OptionalActions::Now, &modes)?)
}

fn size(file: &File) -> Size {
    match tcgetwinsize(file) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            Size { columns: usize::from(size.ws_col), rows: usize::from(size.ws_row) }
        }
        _ => Size::DEFAULT,
    }
}

fn write_within(file: &mut File, mut bytes: &[u8], within: Duration) -> io::Result<()> {
    let end = Instant::now() + within;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
                poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&left))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_takes_nothing_holds_nobody_up() {
        let (_keep_open, full) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let mut file = File::from(full);
        let started = Instant::now();
        let error = write_within(&mut file, &[0; 1 << 20], Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_device_that_is_not_there_is_survived() {
        let console = Console::start("/nonexistent/tty".into()).unwrap();
        console.lines(&["stele: x".into()]);
        console.page(View::default());
    }
}
