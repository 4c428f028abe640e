//! The descriptor store: what a machined puts here, the next one takes out. A table of fixed size, made once.

use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use sys::input;
use sys::link::{Kind, Name};

/// How many descriptors fit: a pidfd, a log pipe and a socket or two for each of some hundred and fifty services. Below the
/// default limit of 1024 open files.
pub(crate) const CAPACITY: usize = 512;
/// Most bytes drained from one pipe in one go, so that a service that floods cannot hold PID 1: a whole pipe of 1 MiB.
const DRAIN_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) descriptor: OwnedFd,
    /// Bytes thrown away since it was put: machined puts it again once it has written that down. Until then every machined
    /// is told, as one may die between hearing and writing.
    pub(crate) dropped: u64,
}

#[derive(Debug)]
pub(crate) struct Store {
    entries: Box<[Option<Entry>]>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Store {
    pub(crate) fn new() -> Self {
        Self { entries: (0..CAPACITY).map(|_| None).collect() }
    }

    /// Keeps a descriptor; one of the same name is replaced and closed.
    pub(crate) fn put(&mut self, name: Name, kind: Kind, descriptor: OwnedFd) -> Result<(), Full> {
        if kind != Kind::Plain {
            // Reading must never block; machined wants it so as well.
            let _ = rustix::io::ioctl_fionbio(&descriptor, true);
        }
        let same = self.entries.iter().position(|e| e.as_ref().is_some_and(|e| e.name == name));
        let place = same.or_else(|| self.entries.iter().position(Option::is_none)).ok_or(Full)?;
        self.entries[place] = Some(Entry { name, kind, descriptor, dropped: 0 });
        Ok(())
    }

    /// Closes one, if it is there.
    pub(crate) fn remove(&mut self, name: &Name) {
        for place in &mut self.entries {
            if place.as_ref().is_some_and(|e| e.name == *name) {
                *place = None;
            }
        }
    }

    /// The entry at a place, and whether the place exists.
    pub(crate) fn at(&mut self, place: usize) -> Option<Option<&mut Entry>> {
        self.entries.get_mut(place).map(Option::as_mut)
    }

    /// The power buttons.
    pub(crate) fn buttons(&self) -> impl Iterator<Item = &OwnedFd> {
        self.entries.iter().flatten().filter(|entry| entry.kind == Kind::Button).map(|entry| &entry.descriptor)
    }

    /// Reads the power buttons; whether one was pressed. One that is gone is let go.
    pub(crate) fn pressed(&mut self) -> bool {
        let mut pressed = false;
        for place in &mut self.entries {
            let Some(button) = place.as_ref().filter(|entry| entry.kind == Kind::Button) else { continue };
            // As many as a device keeps for a reader who is slow.
            let mut events = [0; 64 * input::EVENT];
            match rustix::io::read(&button.descriptor, &mut events) {
                Ok(0) => *place = None,
                Ok(length) => pressed |= input::is_power_press(&events[..length]),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => *place = None,
            }
        }
        pressed
    }

    /// Closes all: what they refer to must not keep filesystems busy.
    pub(crate) fn clear(&mut self) {
        self.entries.iter_mut().for_each(|place| *place = None);
    }

    /// Reads every log pipe empty that is about to block its writer, and counts what was thrown away. What still has room
    /// is left for the next machined: it loses nothing, however long there is none.
    pub(crate) fn drain(&mut self) {
        let mut bytes = [0; 16 << 10];
        for entry in self.entries.iter_mut().flatten().filter(|e| e.kind == Kind::LogPipe && is_filling(&e.descriptor))
        {
            let mut drained = 0;
            while drained < DRAIN_MAX {
                match rustix::io::read(entry.descriptor.as_fd(), &mut bytes) {
                    // Empty, at its end, or broken: nothing to drain now.
                    Ok(0) | Err(_) => break,
                    Ok(n) => drained += n,
                }
            }
            entry.dropped = entry.dropped.saturating_add(drained as u64);
        }
    }
}

/// Whether half of the pipe's room is taken: what a fast writer fills between two looks still fits in the rest. A pipe
/// that does not tell is taken to be full.
fn is_filling(pipe: &OwnedFd) -> bool {
    let taken = rustix::io::ioctl_fionread(pipe).unwrap_or(u64::MAX);
    let room = rustix::pipe::fcntl_getpipe_size(pipe).unwrap_or(0);
    taken >= room as u64 / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn replaces_by_name_and_refuses_when_full() {
        let mut store = Store::new();
        for n in 0..CAPACITY {
            store.put(name(&format!("pid:{n}")), Kind::Plain, null()).unwrap();
        }
        assert_eq!(store.put(name("one-more"), Kind::Plain, null()), Err(Full));
        store.put(name("pid:7"), Kind::LogPipe, null()).unwrap();
        store.remove(&name("pid:8"));
        store.remove(&name("pid:8"));
        store.put(name("one-more"), Kind::Plain, null()).unwrap();
        assert_eq!(store.at(7).unwrap().unwrap().kind, Kind::LogPipe);
        assert_eq!(store.at(8).unwrap().unwrap().name.as_str(), "one-more");
        assert!(store.at(CAPACITY).is_none());
    }

    #[test]
    fn replacing_closes_the_old_descriptor() {
        let mut store = Store::new();
        let (mut reader, writer) = std::io::pipe().unwrap();
        store.put(name("a"), Kind::Plain, writer.into()).unwrap();
        store.put(name("a"), Kind::Plain, null()).unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn drains_log_pipes_that_fill_and_counts() {
        let mut store = Store::new();
        let (log, mut log_writer) = std::io::pipe().unwrap();
        let (calm, mut calm_writer) = std::io::pipe().unwrap();
        let (plain, mut plain_writer) = std::io::pipe().unwrap();
        store.put(name("log:a"), Kind::LogPipe, log.into()).unwrap();
        store.put(name("other"), Kind::Plain, plain.into()).unwrap();
        store.put(name("log:b"), Kind::LogPipe, calm.into()).unwrap();
        log_writer.write_all(&[7; 40_000]).unwrap();
        plain_writer.write_all(&[7; 40_000]).unwrap();
        calm_writer.write_all(b"kept").unwrap();
        store.drain();
        store.drain();
        assert_eq!(store.at(0).unwrap().unwrap().dropped, 40_000);
        assert_eq!(store.at(1).unwrap().unwrap().dropped, 0);
        assert_eq!(store.at(2).unwrap().unwrap().dropped, 0);
        let again = store.at(0).unwrap().unwrap().descriptor.try_clone().unwrap();
        store.put(name("log:a"), Kind::LogPipe, again).unwrap();
        assert_eq!(store.at(0).unwrap().unwrap().dropped, 0, "written down by machined");
    }

    #[test]
    fn a_button_is_pressed_once_and_let_go_when_it_is_gone() {
        let mut store = Store::new();
        let (button, mut finger) = std::io::pipe().unwrap();
        store.put(name("button:event0"), Kind::Button, button.into()).unwrap();
        assert!(!store.pressed());
        let mut event = [0; input::EVENT];
        event[16] = 1;
        event[18] = 116;
        finger.write_all(&event).unwrap();
        assert!(!store.pressed(), "a release");
        event[20] = 1;
        finger.write_all(&event).unwrap();
        assert_eq!((store.pressed(), store.pressed()), (true, false));
        drop(finger);
        assert!(!store.pressed());
        assert_eq!(store.buttons().count(), 0);
    }
}
