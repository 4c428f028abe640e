//! Gives up what the gateway does not need, before the first byte from outside is read.
//!
//! Invariant: afterwards the process cannot open a file, run a program, make a TCP connection, trace or be traced, or map
//! memory that is writable and executable; all of it holds for every thread. Called once by `gateway::run`.
//!
//! Two system call filters are stacked: an allow-list that answers EPERM to what nobody thought of (a C library's
//! fallback survives that), and a list of what only an intruder asks for, which kills.

use std::collections::BTreeMap;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::report;

/// Why the gateway cannot protect itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// prctl failed.
    #[error("prctl({0}) failed")]
    Prctl(&'static str, #[source] rustix::io::Errno),
    /// Landlock failed; a kernel without it is not an error.
    #[error("Landlock rules failed")]
    Landlock(#[from] landlock::RulesetError),
    /// A filter could not be built.
    #[error("the system call filter is not valid")]
    Filter(#[from] seccompiler::BackendError),
    /// A filter could not be installed.
    #[error("the system call filter cannot be installed")]
    Install(#[from] seccompiler::Error),
}

/// Does it all.
pub fn harden() -> Result<(), Error> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|e| Error::Prctl("PR_SET_DUMPABLE", e))?;
    rustix::thread::set_no_new_privs(true).map_err(|e| Error::Prctl("PR_SET_NO_NEW_PRIVS", e))?;
    landlock()?;
    let arch = if cfg!(target_arch = "aarch64") { TargetArch::aarch64 } else { TargetArch::x86_64 };
    let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let allowed: BpfProgram = SeccompFilter::new(allowed()?, eperm, SeccompAction::Allow, arch)?.try_into()?;
    let deadly = DEADLY.iter().map(|call| (*call, Vec::new())).collect();
    let deadly: BpfProgram =
        SeccompFilter::new(deadly, SeccompAction::Allow, SeccompAction::KillProcess, arch)?.try_into()?;
    // The stricter answer of the two wins (seccomp(2)); the second is installed by a call the first must not forbid.
    seccompiler::apply_filter_all_threads(&deadly)?;
    seccompiler::apply_filter_all_threads(&allowed)?;
    Ok(())
}

/// No file, no TCP port, no abstract socket or signal out of here. Connecting to a unix socket by path stays possible.
fn landlock() -> Result<(), Error> {
    // ABI 6 is Linux 6.12's; an older kernel enforces what it knows.
    let enforced = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .restrict_self()?;
    if enforced.ruleset != RulesetStatus::FullyEnforced {
        // The system call filters forbid files and TCP as well: one wall of two is missing.
        report::say(format_args!("this kernel enforces Landlock only in part: {:?}", enforced.ruleset));
    }
    Ok(())
}

/// What the gateway, tokio, rustls, aws-lc, glibc's allocator and a panic need.
const PLAIN: &[libc::c_long] = &[
    // bytes
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_close,
    libc::SYS_shutdown,
    // connections
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // waiting
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_futex,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    // time and randomness
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // memory; mmap and mprotect are below
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // itself, and its end
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_geteuid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
];

/// What the gateway never does and an intruder would.
const DEADLY: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
    libc::SYS_mount,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
];

fn allowed() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut calls: BTreeMap<_, Vec<SeccompRule>> = PLAIN.iter().map(|call| (*call, Vec::new())).collect();
    let unsigned = |value: libc::c_int| u64::from(value.unsigned_abs());
    // Upstream sockets only.
    calls.insert(libc::SYS_socket, vec![rule(0, SeccompCmpOp::Eq, unsigned(libc::AF_UNIX))?]);
    // MSG_FASTOPEN connects: on a socket that was open before, after a connect to nowhere (AF_UNSPEC), Landlock sees nothing.
    let no_connect = |flags| rule(flags, SeccompCmpOp::MaskedEq(unsigned(libc::MSG_FASTOPEN)), 0);
    calls.insert(libc::SYS_sendto, vec![no_connect(3)?]);
    calls.insert(libc::SYS_sendmsg, vec![no_connect(2)?]);
    // Never executable.
    let no_exec = || rule(2, SeccompCmpOp::MaskedEq(unsigned(libc::PROT_EXEC)), 0);
    calls.insert(libc::SYS_mmap, vec![no_exec()?]);
    calls.insert(libc::SYS_mprotect, vec![no_exec()?]);
    // Flags of descriptors, not duplicates or locks.
    let flags = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];
    let flags = flags.map(|command| rule(1, SeccompCmpOp::Eq, unsigned(command)));
    calls.insert(libc::SYS_fcntl, flags.into_iter().collect::<Result<_, _>>()?);
    // How stderr is asked whether it is a terminal, and FIONBIO.
    let ioctls = [libc::TCGETS, libc::FIONBIO].map(|request| rule(1, SeccompCmpOp::Eq, request));
    calls.insert(libc::SYS_ioctl, ioctls.into_iter().collect::<Result<_, _>>()?);
    Ok(calls)
}

fn rule(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?])
}

#[cfg(test)]
#[path = "harden/tests.rs"]
mod tests;
