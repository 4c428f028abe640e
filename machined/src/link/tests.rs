//! The link against an init that is a thread: it keeps what it is given, like the real one.

use std::os::fd::AsFd;

use sys::link::{Cause, Server};

use super::*;

/// An init for tests: keeps descriptors across several machineds, and collects what it was told.
#[derive(Debug, Default)]
pub(crate) struct Init {
    pub(crate) kept: Vec<(Name, Kind, OwnedFd)>,
    pub(crate) heard: Vec<Request>,
    /// Answers to Stopping that are held back.
    pub(crate) slow: bool,
    /// The first stop it heard of.
    pub(crate) stands: Option<Action>,
    generation: u32,
}

impl Init {
    /// Serves one machined until it goes away.
    pub(crate) async fn serve(init: Arc<Mutex<Self>>, server: Server) {
        let socket = crate::poll::readable(rustix::io::dup(&server).unwrap()).unwrap();
        init.lock().unwrap().generation += 1;
        loop {
            match server.try_recv() {
                Ok(Some((request, fd))) => init.lock().unwrap().answer(&server, request, fd),
                Ok(None) => return,
                Err(_) => socket.readable().await.unwrap().clear_ready(),
            }
        }
    }

    fn answer(&mut self, server: &Server, request: Request, fd: Option<OwnedFd>) {
        self.heard.push(request);
        match request {
            Request::Put { name, kind } => {
                self.kept.retain(|(n, ..)| *n != name);
                self.kept.push((name, kind, fd.unwrap()));
                server.try_send(&Event::Done, None).unwrap();
            }
            Request::Drop { name } => {
                self.kept.retain(|(n, ..)| *n != name);
                server.try_send(&Event::Done, None).unwrap();
            }
            Request::Fetch => {
                for (name, kind, fd) in &self.kept {
                    let entry = Event::Entry { name: *name, kind: *kind, dropped: 0 };
                    server.try_send(&entry, Some(fd.as_fd())).unwrap();
                }
                let generation = self.generation;
                server.try_send(&Event::Fetched { generation, last: None, hung: false }, None).unwrap();
            }
            Request::Stopping { action } if !self.slow => {
                let action = *self.stands.get_or_insert(action);
                server.try_send(&Event::Stands { action }, None).unwrap();
            }
            _ => {}
        }
    }
}

/// A link to that init; the tasks end with the set.
pub(crate) fn connect(init: &Arc<Mutex<Init>>, stop: &stop::Handle) -> (Link, tokio::task::JoinSet<()>) {
    let (server, client) = sys::link::pair().unwrap();
    let (link, task) = build(client, stop.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Init::serve(init.clone(), server));
    tasks.spawn(async move {
        let _ = task.run().await;
    });
    (link, tasks)
}

#[tokio::test]
async fn what_is_put_is_there_for_the_next_machined() {
    let init = Arc::default();
    let (link, mut tasks) = connect(&init, &stop::Handle::new());
    let (read, _write) = std::io::pipe().unwrap();
    link.put("log:web", Kind::LogPipe, read.into()).await.unwrap();
    assert!(matches!(link.put("BAD", Kind::Plain, std::io::pipe().unwrap().0.into()).await, Err(Error::Name(_))));
    tasks.shutdown().await;

    let (link, _tasks) = connect(&init, &stop::Handle::new());
    let mut kept = link.fetch().await.unwrap();
    assert_eq!(kept.generation, 2);
    assert_eq!(kept.take("log:web").unwrap().kind, Kind::LogPipe);
    link.drop("log:web").await.unwrap();
    assert!(link.fetch().await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn init_can_want_a_stop_and_tell_an_end() {
    let (server, client) = sys::link::pair().unwrap();
    let stop = stop::Handle::new();
    let (link, task) = build(client, stop.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(task.run());
    let pid = Pid::from_raw(4711).unwrap();
    server.try_send(&Event::Status { pid, status: ExitStatus::Exited(3) }, None).unwrap();
    assert_eq!(link.status(pid).await, ExitStatus::Exited(3));
    server.try_send(&Event::StopWanted { action: Action::PowerOff, cause: Cause::Power }, None).unwrap();
    assert_eq!(stop.requested().await.action, stop::Action::PowerOff);
    drop(server);
    assert!(matches!(tasks.join_next().await.unwrap().unwrap(), Err(Error::Closed)));
}
