//! What differs between a node and a test: which program is machined, and the times.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How PID 1 is to behave.
#[derive(Debug, Clone)]
pub struct Config {
    /// machined and its arguments.
    pub machined: PathBuf,
    /// Its arguments, its name first.
    pub argv: Vec<OsString>,
    /// Its environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its cgroup's `cgroup.procs`, joined when it is there (machined makes it in its first life).
    pub cgroup: PathBuf,
    /// Feed a hardware watchdog when one appears.
    pub watchdog: bool,
    /// The times.
    pub timings: Timings,
}

/// The times of PID 1.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// A machined silent for longer is killed. machined promises a heartbeat every 5 s; six in a row are no accident.
    pub heartbeat: Duration,
    /// The first pause before machined is started again: short enough that one crash is hardly seen.
    pub backoff_first: Duration,
    /// The longest pause: an operator's repair should not wait longer.
    pub backoff_last: Duration,
    /// A machined that lived this long was well: the pause starts from the first again.
    pub stable: Duration,
    /// Log pipes that fill are drained after this long without a reader: services block on full pipes until then. A
    /// machined that has not listened for as long is no reader yet.
    pub drain_after: Duration,
    /// How often they are drained then: the free half of 1 MiB pipes at four times a second keeps up with 2 MiB/s each.
    pub drain_every: Duration,
    /// A machined that does not die for this long after SIGKILL sits in the kernel for good (a disk that never answers): the
    /// machine cannot be managed, and the hardware watchdog, if there is one, is left to reset it.
    pub unkillable: Duration,
    /// A machined that has not said by then whether what runs is on trial never will: it waits a minute for META at most.
    pub unheard: Duration,
    /// The watchdog's time: long enough for the slowest stop phase between two feedings.
    pub watchdog: Duration,
    /// How often it is fed.
    pub feed: Duration,
    /// How long machined may take for an orderly stop. Its own phases end before.
    pub stop: Duration,
    /// How long killed processes may take to end (they may sit in the kernel on a dead disk).
    pub kill: Duration,
    /// How long unmounting may take.
    pub unmount: Duration,
    /// How long the last sync may take.
    pub sync: Duration,
}

impl Timings {
    /// Those of a node.
    pub const NODE: Self = Self {
        heartbeat: Duration::from_secs(30),
        backoff_first: Duration::from_millis(100),
        backoff_last: Duration::from_secs(3),
        stable: Duration::from_secs(30),
        drain_after: Duration::from_secs(5),
        drain_every: Duration::from_millis(250),
        unkillable: Duration::from_secs(600),
        unheard: Duration::from_secs(600),
        watchdog: Duration::from_secs(30),
        feed: Duration::from_secs(5),
        stop: Duration::from_secs(90),
        kill: Duration::from_secs(10),
        unmount: Duration::from_secs(20),
        sync: Duration::from_secs(20),
    };
}

impl Config {
    /// A node's; the stamps are those of init's own start and go to machined's boot record.
    #[must_use]
    pub fn node(tsc: u64, uptime_ns: u64) -> Self {
        let machined = "/usr/bin/machined";
        let env = [
            ("PATH", "/usr/bin:/usr/sbin".to_owned()),
            ("STELE_INIT_TSC", tsc.to_string()),
            ("STELE_INIT_UPTIME_NS", uptime_ns.to_string()),
        ];
        Self {
            machined: machined.into(),
            argv: vec![machined.into()],
            env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cgroup: "/sys/fs/cgroup/machined/cgroup.procs".into(),
            watchdog: true,
            timings: Timings::NODE,
        }
    }
}
