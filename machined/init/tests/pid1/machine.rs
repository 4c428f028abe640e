//! The machine of the tests: PID 1 in namespaces of its own, and the strings its machined hangs on.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A machine of one process and its children.
pub(crate) struct Machine {
    unshare: Child,
    listener: UnixListener,
    screen: PathBuf,
    _directory: tempfile::TempDir,
}

/// One life of machined.
pub(crate) struct Brain {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

pub(crate) fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

#[expect(clippy::disallowed_methods, reason = "a test on a workstation starts its own processes")]
pub(crate) fn unshare() -> Command {
    let mut command = Command::new("unshare");
    // A user namespace besides, so that even a wrong kill, umount or reboot reaches nothing of the host.
    command.args(["--user", "--map-root-user", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]);
    command
}

/// Whether this host lets us make namespaces; when not, says so once, past the test harness, which would hide it.
fn allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let tried = unshare().arg("true").output();
        let why = match &tried {
            Ok(output) if output.status.success() => return true,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
            Err(error) => error.to_string(),
        };
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED, all tests with a PID 1: this host lets this user make no namespaces ({why}); run them as root, or \
             allow it (on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
        );
        false
    })
}

impl Machine {
    /// None where namespaces are forbidden: said, and the test does not count.
    pub(crate) fn start() -> Option<Self> {
        if !allowed() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let screen = directory.path().join("screen");
        let listener = UnixListener::bind(&socket).unwrap();
        let output = std::fs::File::create(&screen).unwrap();
        let mut command = unshare();
        command.arg(example("pid1")).arg(example("brain")).arg(socket).stdout(output);
        Some(Self { unshare: command.spawn().unwrap(), listener, screen, _directory: directory })
    }

    /// Waits for the next life of machined.
    pub(crate) fn brain(&self) -> Brain {
        self.listener.set_nonblocking(true).unwrap();
        let stream = until("machined is started", || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Brain { lines: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    pub(crate) fn screen(&self) -> String {
        std::fs::read_to_string(&self.screen).unwrap()
    }

    pub(crate) fn shows(&self, text: &str) {
        until(text, || self.screen().contains(text).then_some(()));
    }

    /// Signals PID 1 from outside.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let children = format!("/proc/{0}/task/{0}/children", self.unshare.id());
        let pid = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// How unshare reports the end of the namespace: reboot(2) there is a death by SIGHUP, power-off one by SIGINT.
    pub(crate) fn end(&mut self) -> ExitStatus {
        until("the machine ends", || self.unshare.try_wait().unwrap())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        if std::thread::panicking() {
            eprintln!("--- console\n{}", self.screen());
        }
    }
}

impl Brain {
    pub(crate) fn order(&mut self, line: &str) {
        writeln!(self.stream, "{line}").unwrap();
    }

    pub(crate) fn next(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("machined says something in time");
        line.trim_end().to_owned()
    }

    /// Reads up to the first line with this beginning and returns it.
    pub(crate) fn expect(&mut self, beginning: &str) -> String {
        loop {
            let line = self.next();
            assert!(!line.is_empty(), "machined ended before it said {beginning:?}");
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    pub(crate) fn pid(&mut self) -> String {
        self.expect("pid ").replace("pid ", "")
    }

    pub(crate) fn fetch(&mut self) -> Vec<String> {
        self.order("fetch");
        let mut lines = vec![];
        loop {
            let line = self.next();
            assert!(!line.is_empty(), "machined ended");
            if !line.starts_with("ok ") {
                lines.push(line);
            }
            if lines.last().is_some_and(|l| l.starts_with("Fetched")) {
                return lines;
            }
        }
    }
}

pub(crate) fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        pause(Duration::from_millis(10));
    }
}

#[expect(clippy::disallowed_methods, reason = "no runtime here")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
