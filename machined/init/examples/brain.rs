//! A machined for the tests: does what it is told over a unix socket, one word per line, and reports what init says.
//! `brain <socket>`; init passes the link as descriptor 3.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use sys::link::{Action, Client, Kind, Name, Request, Standing};
use sys::process::Spawn;

fn main() {
    let path = std::env::args_os().nth(1).expect("a socket");
    let link = Client::inherited().expect("init's socket");
    let stream = UnixStream::connect(path).expect("the test's socket");
    let mut to = stream.try_clone().expect("a copy");
    let (orders, incoming) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .spawn(move || BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(orders.send(line))))
        .expect("a thread");
    let mut kept = VecDeque::new();
    let mut beating = true;
    loop {
        if beating {
            let _ = link.try_send(&Request::Heartbeat, None);
        }
        while let Ok(Some((event, descriptor))) = link.try_recv() {
            writeln!(to, "{event:?}").expect("the test reads");
            kept.extend(descriptor);
        }
        let Ok(order) = incoming.recv_timeout(Duration::from_millis(20)) else { continue };
        let (verb, rest) = order.split_once(' ').unwrap_or((&order, ""));
        let spawn = |register| {
            let child = Spawn {
                program: "/bin/sh".into(),
                argv: ["sh", "-c", rest].map(Into::into).to_vec(),
                env: vec![("PATH".into(), "/usr/bin:/bin".into())],
                session: true,
                register,
                ..Spawn::default()
            };
            child.start().expect("a shell")
        };
        match verb {
            "fetch" => link.try_send(&Request::Fetch, None).expect("room"),
            "forget" => {
                let pid = sys::Pid::from_raw(rest.parse().expect("a pid")).expect("a pid");
                link.try_send(&Request::Forget { pid }, None).expect("room");
            }
            // A pipe whose read end is put as a log, and a child that keeps writing into it so many bytes and then waits.
            "log" => {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                let put = Request::Put { name: Name::new("log:test").expect("a name"), kind: Kind::LogPipe };
                link.try_send(&put, Some(reader.as_fd())).expect("room");
                let child = Spawn {
                    program: "/bin/sh".into(),
                    argv: ["sh".into(), "-c".into(), format!("head -c {rest} /dev/zero; sleep 60").into()].to_vec(),
                    env: vec![("PATH".into(), "/usr/bin:/bin".into())],
                    stdout: Some(writer.as_fd()),
                    register: Some(&link),
                    ..Spawn::default()
                };
                let child = child.start().expect("a shell");
                writeln!(to, "pid {}", child.pid).expect("the test reads");
            }
            // A power button, and a press of it that nobody has read.
            "button" => {
                let (reader, mut writer) = std::io::pipe().expect("a pipe");
                let put = Request::Put { name: Name::new("button:test").expect("a name"), kind: Kind::Button };
                link.try_send(&put, Some(reader.as_fd())).expect("room");
                let mut event = [0; sys::input::EVENT];
                (event[16], event[18], event[20]) = (1, 116, 1);
                writer.write_all(&event).expect("room");
            }
            "put" => {
                let file = std::fs::File::open(rest).expect("a file");
                let put = Request::Put { name: Name::new("file").expect("a name"), kind: Kind::Plain };
                link.try_send(&put, Some(file.as_fd())).expect("room");
            }
            // What the oldest descriptor got from init holds.
            "read" => {
                let descriptor = kept.pop_front().expect("a kept descriptor");
                let text = std::io::read_to_string(std::fs::File::from(descriptor)).expect("text");
                writeln!(to, "text {text}").expect("the test reads");
            }
            "run" => writeln!(to, "pid {}", spawn(Some(&link)).pid).expect("the test reads"),
            "orphan" => drop(spawn(None)),
            "say" => println!("{rest}"),
            "settled" => {
                link.try_send(&Request::Standing { standing: Standing::Settled }, None).expect("room");
            }
            "hang" => beating = false,
            "stop" => link.try_send(&Request::Stop { action: Action::PowerOff }, None).expect("room"),
            "reboot" => link.try_send(&Request::Stop { action: Action::Reboot }, None).expect("room"),
            "stopping" => link.try_send(&Request::Stopping { action: Action::PowerOff }, None).expect("room"),
            "exit" => return,
            "panic" => panic!("as told"),
            other => panic!("unknown order {other}"),
        }
        writeln!(to, "ok {verb}").expect("the test reads");
    }
}
