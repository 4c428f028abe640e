//! The child's half: from fork to exec. Invariant: between the two nothing allocates, locks or unwinds; only system calls
//! (rustix's are direct ones) on memory prepared before. Called by `spawn` alone.

use super::spawn::{Step, User};
use super::{Capabilities, Pid, Resource, Rlimit};
use crate::link::register_frame;
use rustix::io::Errno;
use rustix::{process, thread};
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

/// Everything the child needs, ready made.
pub(super) struct Plan {
    pub(super) program: CString,
    pub(super) argv: Strings,
    pub(super) env: Strings,
    pub(super) directory: CString,
    pub(super) user: Option<User>,
    pub(super) limits: Vec<(Resource, Rlimit)>,
    pub(super) cgroup: Option<RawFd>,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) no_new_privs: bool,
    /// What becomes descriptor 0, 1, 2, 3, …
    pub(super) sources: Vec<RawFd>,
    pub(super) report: RawFd,
    pub(super) umask: u32,
    pub(super) oom_score_adj: Option<String>,
    pub(super) nice: Option<i32>,
    pub(super) session: bool,
    pub(super) register: Option<RawFd>,
}

/// Strings with the null-terminated array of pointers to them that execve wants.
pub(super) struct Strings {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

impl Strings {
    pub(super) fn new(owned: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = owned.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        // A moved CString keeps its buffer, so the pointers stay good as long as `_owned` lives.
        Self { pointers, _owned: owned }
    }
}

/// Forks with every signal blocked, so that none of the parent's handlers runs in the child; the child never returns.
pub(super) fn fork(mut plan: Plan) -> io::Result<Pid> {
    // SAFETY: plain old data, written by the calls before it is read.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both point to live sets of this function.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    // SAFETY: the child calls only `run`, which keeps to async-signal-safe calls (this module's invariant) and never returns.
    let pid = match unsafe { libc::fork() } {
        0 => run(&mut plan),
        pid => pid,
    };
    let failed = io::Error::last_os_error();
    // SAFETY: `before` was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    if pid > 0 { Pid::from_raw(pid).ok_or(failed) } else { Err(failed) }
}

fn run(plan: &mut Plan) -> ! {
    let (step, errno) = match steps(plan) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let code = errno.raw_os_error().to_le_bytes();
    let words = [step as u8, code[0], code[1], code[2], code[3]];
    // SAFETY: the report pipe is open in this process; _exit runs no destructors of the copied parent.
    unsafe {
        libc::write(plan.report, words.as_ptr().cast(), words.len());
        libc::_exit(127)
    }
}

/// The order matters: what needs root or the parent's descriptors comes first, what gives power up last.
fn steps(plan: &mut Plan) -> Result<std::convert::Infallible, (Step, Errno)> {
    let at = |step| move |errno| (step, errno);
    reset_signals();
    if plan.session {
        process::setsid().map_err(at(Step::Session))?;
    }
    // Before anything that may take time: from here on no exit status is lost.
    if let Some(link) = plan.register {
        register(link).map_err(at(Step::Register))?;
    }
    if let Some(cgroup) = plan.cgroup {
        rustix::io::write(borrow(cgroup), b"0").map_err(at(Step::Cgroup))?;
    }
    if let Some(nice) = plan.nice {
        process::setpriority_process(None, nice).map_err(at(Step::Nice))?;
    }
    if let Some(score) = &plan.oom_score_adj {
        oom_score(score).map_err(at(Step::OomScore))?;
    }
    arrange(plan).map_err(at(Step::Descriptors))?;
    // After the descriptors: the parent may hold more than the program may open, and duplicates have the highest numbers.
    for (resource, limit) in &plan.limits {
        process::setrlimit(*resource, *limit).map_err(at(Step::Limits))?;
    }
    process::umask(rustix::fs::Mode::from_raw_mode(plan.umask));
    process::chdir(plan.directory.as_c_str()).map_err(at(Step::Directory))?;
    // The bounding set can only be lowered while still privileged.
    if let Some(keep) = plan.capabilities {
        bound(keep).map_err(at(Step::BoundingSet))?;
        thread::set_keep_capabilities(true).map_err(at(Step::BoundingSet))?;
    }
    if let Some(user) = &plan.user {
        thread::set_thread_groups(&user.groups).map_err(at(Step::Identity))?;
        thread::set_thread_res_gid(user.gid, user.gid, user.gid).map_err(at(Step::Identity))?;
        thread::set_thread_res_uid(user.uid, user.uid, user.uid).map_err(at(Step::Identity))?;
    }
    if let Some(keep) = plan.capabilities {
        hold(keep).map_err(at(Step::Capabilities))?;
    }
    if plan.no_new_privs {
        thread::set_no_new_privs(true).map_err(at(Step::NoNewPrivs))?;
    }
    // SAFETY: three live, null-terminated arrays and strings, owned by the plan.
    unsafe { libc::execve(plan.program.as_ptr(), plan.argv.pointers.as_ptr(), plan.env.pointers.as_ptr()) };
    Err((Step::Exec, last_errno()))
}

/// Default dispositions (ignored ones would survive exec) and nothing blocked.
fn reset_signals() {
    // The kernel's own call: the library's refuses the two signals it keeps for itself, which may be ignored as well.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: an all-zero kernel sigaction (four words) is SIG_DFL with an empty mask of 8 bytes; signals that cannot
        // be changed answer EINVAL, which is as good.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8) };
    }
    // SAFETY: plain old data, made an empty set before it is read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn register(link: RawFd) -> Result<(), Errno> {
    let frame = register_frame(process::getpid());
    let patience = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
    loop {
        match rustix::net::send(
            borrow(link),
            &frame,
            rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
        ) {
            Ok(_) => return Ok(()),
            Err(Errno::AGAIN) => {}
            Err(e) => return Err(e),
        }
        // init always reads; five seconds without means it has better things to do than us.
        let socket = borrow(link);
        let mut wanted = [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::OUT)];
        if rustix::event::poll(&mut wanted, Some(&patience))? == 0 {
            return Err(Errno::TIMEDOUT);
        }
    }
}

fn oom_score(score: &str) -> Result<(), Errno> {
    const FILE: &CStr = c"/proc/self/oom_score_adj";
    let file =
        rustix::fs::open(FILE, rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::io::write(&file, score.as_bytes()).map(|_| ())
}

/// Moves all sources above the targets, then each to its place; everything else closes on exec.
fn arrange(plan: &mut Plan) -> Result<(), Errno> {
    let floor = RawFd::try_from(plan.sources.len()).map_err(|_| Errno::MFILE)?;
    plan.report = above(plan.report, floor)?;
    for source in &mut plan.sources {
        *source = above(*source, floor)?;
    }
    for (target, source) in (0..).zip(&plan.sources) {
        // SAFETY: the child owns its whole descriptor table; nothing of the parent's is used after this.
        if unsafe { libc::dup2(*source, target) } < 0 {
            return Err(last_errno());
        }
    }
    // SAFETY: as above; marks close-on-exec only.
    if unsafe { libc::syscall(libc::SYS_close_range, floor, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) } < 0 {
        return Err(last_errno());
    }
    Ok(())
}

fn above(fd: RawFd, floor: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: duplicates a descriptor of the child's own table.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, floor) };
    if copy < 0 { Err(last_errno()) } else { Ok(copy) }
}

fn bound(keep: Capabilities) -> Result<(), Errno> {
    for bit in 0..64 {
        let one = Capabilities::from_bits_retain(1 << bit);
        if keep.contains(one) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The first number this kernel does not know: there are no more.
            Err(Errno::INVAL) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn hold(keep: Capabilities) -> Result<(), Errno> {
    thread::set_capabilities(None, thread::CapabilitySets { effective: keep, permitted: keep, inheritable: keep })?;
    thread::clear_ambient_capability_set()?;
    for one in keep.iter() {
        thread::configure_capability_in_ambient_set(one, true)?;
    }
    Ok(())
}

fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the parent's `Spawn` borrows these descriptors across the fork, and the child closes none before exec.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn last_errno() -> Errno {
    // SAFETY: errno of this thread.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}
