//! PID 1 with short times, for the tests: `pid1 <machined> <socket>`, or `pid1 panic`, `pid1 abort`, in process and mount namespaces of its own.
//! Refuses to run anywhere else, because it ends by killing everything and by reboot(2).

use init::{Config, Console, Pid1, Timings, ruin};
use std::os::fd::AsFd;
use std::time::Duration;

fn main() {
    assert!(rustix::process::getpid().is_init(), "only for process 1 of a namespace of its own");
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    ruin::prepare();
    match arguments[0].to_str() {
        Some("panic") => panic!("as told"),
        Some("abort") => std::process::abort(),
        _ => {}
    }
    let timings = Timings {
        heartbeat: Duration::from_millis(1500),
        backoff_first: Duration::from_millis(100),
        backoff_last: Duration::from_millis(400),
        stable: Duration::from_secs(1),
        drain_after: Duration::from_secs(1),
        drain_every: Duration::from_millis(50),
        stop: Duration::from_secs(2),
        ..Timings::NODE
    };
    let config = Config {
        machined: arguments[0].clone().into(),
        argv: arguments,
        env: vec![],
        cgroup: "/nonexistent".into(),
        watchdog: false,
        timings,
    };
    let console = Console::to(std::io::stdout().as_fd().try_clone_to_owned().expect("standard output").into());
    match Pid1::new(config, console) {
        Ok(mut pid1) => {
            let action = pid1.run();
            init::finish(pid1, action)
        }
        Err(e) => ruin::restart(format_args!("{e}")),
    }
}
