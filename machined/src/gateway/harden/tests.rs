//! Each test starts this test program again, as the process that gives up everything.

use std::{
    io::ErrorKind,
    net::TcpStream,
    os::unix::{net::UnixStream, process::ExitStatusExt},
    process::{Command, Output},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SendAncillaryBuffer, SendFlags, SocketType},
};

use super::*;

#[expect(clippy::disallowed_methods, reason = "a test's own child")]
fn child(name: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let name = format!("gateway::harden::tests::{name}");
    Command::new(program).args(["--ignored", "--exact", &name, "--nocapture", "--test-threads=1"]).output().unwrap()
}

#[test]
fn what_is_not_needed_is_refused_and_what_is_needed_works() {
    let Output { status, stdout, stderr } = child("as_the_gateway");
    let text = String::from_utf8_lossy(&stdout);
    assert!(status.success(), "{status}\n{text}\n{}", String::from_utf8_lossy(&stderr));
    // A name that fits no test is a success of nothing.
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn starting_a_program_kills() {
    let status = child("as_an_intruder").status;
    assert_eq!(status.signal(), Some(libc::SIGSYS as libc::c_int), "{status}");
}

#[test]
#[ignore = "gives up everything: a process of its own, started by what_is_not_needed_is_refused_and_what_is_needed_works"]
fn as_the_gateway() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _upstream = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let status = || std::fs::read_to_string("/proc/self/status");
    // Open before, so that it can be read afterwards.
    let mut before = std::fs::File::open("/proc/self/status").unwrap();
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    harden().unwrap();
    // A TCP connection by the back door: the data that go along make it.
    let fast = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.unsigned_abs());
    assert_eq!(rustix::net::sendto(&socket, b"x", fast, &address).unwrap_err(), Errno::PERM);
    let (data, mut control) = ([std::io::IoSlice::new(b"x")], SendAncillaryBuffer::default());
    let sent = rustix::net::sendmsg_addr(&socket, &address, &data, &mut control, fast);
    assert_eq!(sent.unwrap_err(), Errno::PERM);
    assert_eq!(status().unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(std::fs::write("/tmp/stele-harden-test", "x").unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(std::net::UdpSocket::bind("127.0.0.1:0").unwrap_err().kind(), ErrorKind::PermissionDenied);
    UnixStream::connect(&path).unwrap();
    // Enough allocation for every path of the allocator.
    let blocks: Vec<Vec<u8>> = (1..200).map(|n| vec![1; n * 4096]).collect();
    drop(blocks);
    crate::pki::Identity::make().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut before, &mut text).unwrap();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
#[ignore = "is killed: a process of its own, started by starting_a_program_kills"]
#[expect(clippy::disallowed_methods, reason = "it is what must not work")]
fn as_an_intruder() {
    harden().unwrap();
    let _ = Command::new("/bin/true").status();
}
