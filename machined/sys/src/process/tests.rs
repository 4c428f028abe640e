//! Real processes: identity, descriptors, signals, errors that name their step, registration before exec.

use super::*;
use crate::link::{self, ExitStatus, Request};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

fn shell(script: &str) -> Spawn<'static> {
    Spawn {
        program: "/bin/sh".into(),
        argv: ["sh", "-c", script].map(Into::into).to_vec(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        ..Spawn::default()
    }
}

fn output(mut spawn: Spawn<'_>) -> (String, ExitStatus) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = {
        let mut spawn: Spawn<'_> = Spawn { stdout: Some(writer.as_fd()), ..spawn.clone() };
        spawn.session = true;
        spawn.start().unwrap()
    };
    spawn.stdout = None;
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (text, wait(child.pidfd.as_fd()).unwrap())
}

#[test]
fn passes_descriptors_environment_and_status() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut spawn = shell("echo $A >&4; ls /proc/self/fd | wc -l; umask; pwd; exit 7");
    spawn.env.push(("A".into(), "b c".into()));
    let other = std::fs::File::open("/dev/null").unwrap();
    spawn.descriptors = vec![other.as_fd(), writer.as_fd()];
    spawn.umask = Some(0o077);
    spawn.directory = Some("/usr".into());
    let (text, status) = output(spawn);
    drop(writer);
    // 0 to 4, and the directory `ls` reads.
    assert_eq!(text, "6\n0077\n/usr\n");
    assert_eq!(status, ExitStatus::Exited(7));
    let mut passed = String::new();
    reader.read_to_string(&mut passed).unwrap();
    assert_eq!(passed, "b c\n");
}

#[test]
fn signals_are_reset_and_reported() {
    // The Rust runtime ignores SIGPIPE; a child must not inherit that, nor a blocked mask.
    let (text, status) = output(shell("grep -E 'Sig(Blk|Ign)' /proc/self/status; kill -KILL $$"));
    assert_eq!(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    assert_eq!(status, ExitStatus::Signaled { signal: 9, core: false });
}

#[test]
fn errors_name_the_step() {
    let step = |spawn: &Spawn<'_>| match spawn.start() {
        Err(Error::Child { step, cause, .. }) => (step, cause.raw_os_error()),
        other => panic!("{other:?}"),
    };
    let missing = Spawn { program: PathBuf::from("/nonexistent"), ..Spawn::default() };
    assert_eq!(step(&missing), (Step::Exec, Some(libc::ENOENT)));
    let mut nowhere = shell("true");
    nowhere.directory = Some("/nonexistent".into());
    assert_eq!(step(&nowhere), (Step::Directory, Some(libc::ENOENT)));
}

/// The parent holds more descriptors than the program may open.
#[test]
fn a_low_limit_of_files_is_the_program_s() {
    let held: Vec<_> = (0..80).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let mut spawn = shell("ulimit -n; echo passed >&3");
    let (mut reader, writer) = std::io::pipe().unwrap();
    assert!(std::os::fd::AsRawFd::as_raw_fd(&writer) > 64, "{} held", held.len());
    spawn.descriptors = vec![writer.as_fd()];
    spawn.limits = vec![(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) })];
    let (text, status) = output(spawn);
    drop(writer);
    assert_eq!((text.as_str(), status), ("64\n", ExitStatus::Exited(0)));
    let mut passed = String::new();
    reader.read_to_string(&mut passed).unwrap();
    assert_eq!(passed, "passed\n");
}

#[test]
fn an_end_can_be_looked_at_before_it_is_reaped() {
    let child = shell("exit 3").start().unwrap();
    let status = loop {
        if let Some(status) = ended(child.pidfd.as_fd()).unwrap() {
            break status;
        }
        std::thread::yield_now();
    };
    assert_eq!(status, ExitStatus::Exited(3));
    assert_eq!(try_wait(child.pidfd.as_fd()).unwrap(), Some(status), "still there");
    assert_eq!(ended(child.pidfd.as_fd()).unwrap_err().raw_os_error(), Some(libc::ECHILD));
}

#[test]
fn a_discarded_child_is_gone() {
    let child = shell("exec sleep 1000").start().unwrap();
    discard(child.pid).unwrap();
    assert!(!alive(child.pid));
}

#[test]
fn registers_before_exec_and_forgets_after_failure() {
    let (server, client) = link::pair().unwrap();
    let mut spawn = shell("exit 0");
    spawn.register = Some(&client);
    let child = spawn.start().unwrap();
    assert_eq!(server.try_recv().unwrap().unwrap().0, Request::Register { pid: child.pid });
    wait(child.pidfd.as_fd()).unwrap();
    spawn.program = "/nonexistent".into();
    spawn.start().unwrap_err();
    let Request::Register { pid } = server.try_recv().unwrap().unwrap().0 else { panic!("registers first") };
    assert_eq!(server.try_recv().unwrap().unwrap().0, Request::Forget { pid });
}

#[test]
fn drops_privileges_but_keeps_named_capabilities() {
    if !rustix::process::geteuid().is_root() {
        // past the test harness, which would hide it
        let _ = writeln!(std::io::stderr(), "SKIPPED, one test: giving up privileges needs root");
        return;
    }
    let keep = capability("cap_net_bind_service").unwrap();
    let mut spawn = shell(
        "id -u; id -G; grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status | cut -f2; cat /proc/self/oom_score_adj; ulimit -n; nice",
    );
    spawn.user = Some(User { uid: Uid::from_raw(100), gid: Gid::from_raw(100), groups: vec![] });
    spawn.capabilities = Some(keep);
    spawn.no_new_privs = true;
    spawn.oom_score_adj = Some(500);
    spawn.nice = Some(5);
    spawn.limits = vec![(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) })];
    let (text, status) = output(spawn);
    let set = "0000000000000400\n";
    assert_eq!(text, format!("100\n100\n{set}{set}{set}{set}1\n500\n64\n5\n"));
    assert!(status.success());
}

#[test]
fn capability_names() {
    assert_eq!(capability("CAP_SYS_TIME"), Some(Capabilities::SYS_TIME));
    assert_eq!(capability("net_admin"), Some(Capabilities::NET_ADMIN));
    assert_eq!(capability("CAP_NONSENSE"), None);
}

/// Held before it executes, here by a pipe that is full in place of a cgroup that is frozen.
#[test]
fn one_that_the_kernel_holds_is_not_waited_for() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let size = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![0; size]).unwrap();
    let (server, client) = link::pair().unwrap();
    let mut spawn = shell("exit 0");
    spawn.cgroup = Some(writer.as_fd());
    spawn.register = Some(&client);
    let start = std::time::Instant::now();
    let error = spawn.start_within(std::time::Duration::from_millis(100)).unwrap_err();
    assert!(matches!(error, Error::Late(_)) && start.elapsed().as_secs() < 8, "{error} {:?}", start.elapsed());
    let Request::Register { pid } = server.try_recv().unwrap().unwrap().0 else { panic!("registers first") };
    assert_eq!(server.try_recv().unwrap().unwrap().0, Request::Forget { pid });
    drop(spawn);
    drop(writer);
    // The end comes when nobody holds the pipe, the child neither.
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), size);
}
