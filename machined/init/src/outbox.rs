//! What machined is still to be told. The socket's buffer is finite and PID 1 never blocks, so everything here can be sent
//! piece by piece; memory is constant because at most one answer waits, and no request is read meanwhile.

use crate::statuses::Statuses;
use crate::store::Store;
use std::io;
use std::os::fd::AsFd;
use sys::link::{Action, Cause, Event, Server};

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    answer: Option<Event>,
    /// The next place of the store to be told, while a Fetch is answered.
    fetch: Option<usize>,
    fetched: Option<Event>,
    /// Whether this machined has asked for what is kept: before, ends are not told, Fetch tells them all.
    listening: bool,
    stop: Option<(Action, Cause)>,
    /// The last try failed for want of memory.
    short: bool,
}

impl Outbox {
    /// Whether an answer still waits: read no further request then.
    pub(crate) fn busy(&self) -> bool {
        self.answer.is_some() || self.fetch.is_some()
    }

    /// Whether anything waits for the socket.
    pub(crate) fn waiting(&self, statuses: &Statuses) -> bool {
        self.busy() || self.stop.is_some() || (self.listening && statuses.untold().is_some())
    }

    pub(crate) fn listening(&self) -> bool {
        self.listening
    }

    /// Whether to wait for memory, not for the socket.
    pub(crate) fn short(&self) -> bool {
        self.short
    }

    pub(crate) fn answer(&mut self, event: Event) {
        self.answer = Some(event);
    }

    /// Answers a Fetch, ended by this event.
    pub(crate) fn fetch(&mut self, end: Event, statuses: &mut Statuses) {
        statuses.retell();
        self.fetch = Some(0);
        self.fetched = Some(end);
        self.listening = true;
    }

    pub(crate) fn stop(&mut self, action: Action, cause: Cause) {
        self.stop = Some((action, cause));
    }

    /// Sends what the socket takes; a full socket and a kernel short of memory are no errors, as what waits is sent later.
    /// All else means the link is of no use any more.
    pub(crate) fn send(&mut self, link: &Server, store: &mut Store, statuses: &mut Statuses) -> io::Result<()> {
        self.short = false;
        match self.try_send(link, store, statuses) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) if is_short(&e) => {
                self.short = true;
                Ok(())
            }
            other => other,
        }
    }

    fn try_send(&mut self, link: &Server, store: &mut Store, statuses: &mut Statuses) -> io::Result<()> {
        if let Some(event) = &self.answer {
            link.try_send(event, None)?;
            self.answer = None;
        }
        while let Some(place) = self.fetch
            && let Some(entry) = store.at(place)
        {
            if let Some(entry) = entry {
                let event = Event::Entry { name: entry.name, kind: entry.kind, dropped: entry.dropped };
                link.try_send(&event, Some(entry.descriptor.as_fd()))?;
            }
            self.fetch = Some(place + 1);
        }
        while self.listening
            && let Some((pid, status)) = statuses.untold()
        {
            link.try_send(&Event::Status { pid, status }, None)?;
            statuses.told(pid);
        }
        if let Some(end) = &self.fetched {
            link.try_send(end, None)?;
            self.fetched = None;
            self.fetch = None;
        }
        if let Some((action, cause)) = self.stop {
            link.try_send(&Event::StopWanted { action, cause }, None)?;
            self.stop = None;
        }
        Ok(())
    }
}

/// Memory, buffers, or too many descriptors under way to machined that it has not taken yet.
fn is_short(e: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(e), Some(Errno::NOMEM | Errno::NOBUFS | Errno::TOOMANYREFS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::link::{self, ExitStatus, Kind, Name};

    /// More entries than the socket's buffer takes at once all arrive, each once, in order, then the statuses, then the end.
    #[test]
    fn a_fetch_larger_than_the_socket_is_told_in_pieces() {
        let (server, client) = link::pair().unwrap();
        let (mut store, mut statuses, mut outbox) = (Store::new(), Statuses::new(), Outbox::default());
        for n in 0..crate::store::CAPACITY {
            let null = std::fs::File::open("/dev/null").unwrap();
            store.put(Name::new(&format!("n{n}")).unwrap(), Kind::Plain, null.into()).unwrap();
        }
        for n in 1..=600 {
            let pid = sys::Pid::from_raw(n).unwrap();
            statuses.register(pid);
            statuses.ended(pid, ExitStatus::Exited(0));
        }
        outbox.fetch(Event::Fetched { generation: 1, last: None, hung: false }, &mut statuses);
        let (mut entries, mut ends, mut rounds) = (0, 0, 0);
        loop {
            outbox.send(&server, &mut store, &mut statuses).unwrap();
            rounds += 1;
            let mut done = false;
            while let Ok(Some((event, descriptor))) = client.try_recv() {
                match event {
                    Event::Entry { name, .. } => {
                        assert_eq!(name.as_str(), format!("n{entries}"));
                        assert!(descriptor.is_some());
                        entries += 1;
                    }
                    Event::Status { .. } => ends += 1,
                    Event::Fetched { .. } => done = true,
                    other => panic!("{other:?}"),
                }
            }
            if done {
                break;
            }
        }
        assert_eq!((entries, ends), (crate::store::CAPACITY, 600));
        assert!(rounds > 1, "the socket never was full: the test shows nothing");
        assert!(!outbox.waiting(&statuses));
    }

    #[test]
    fn what_was_thrown_away_is_told_to_every_machined_until_it_is_put_again() {
        let (mut store, mut statuses) = (Store::new(), Statuses::new());
        let name = Name::new("log:web").unwrap();
        store.put(name, Kind::LogPipe, std::io::pipe().unwrap().0.into()).unwrap();
        store.at(0).unwrap().unwrap().dropped = 7;
        let mut told = |store: &mut Store| {
            let (server, client) = link::pair().unwrap();
            let mut outbox = Outbox::default();
            outbox.fetch(Event::Fetched { generation: 1, last: None, hung: false }, &mut statuses);
            outbox.send(&server, store, &mut statuses).unwrap();
            match client.try_recv().unwrap().unwrap() {
                (Event::Entry { dropped, .. }, _) => dropped,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((told(&mut store), told(&mut store)), (7, 7));
        store.put(name, Kind::LogPipe, std::io::pipe().unwrap().0.into()).unwrap();
        assert_eq!(told(&mut store), 0);
    }
}
