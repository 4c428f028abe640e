//! Frames round-trip, foreign bytes are refused, descriptors travel.

use super::*;
use std::io::{Read, Write};
use std::os::fd::AsFd;

fn pid(raw: i32) -> Pid {
    Pid::from_raw(raw).unwrap()
}

fn requests() -> Vec<Request> {
    let name = Name::new("listen:gateway:api").unwrap();
    vec![
        Request::Heartbeat,
        Request::Put { name, kind: Kind::Plain },
        Request::Put { name, kind: Kind::Button },
        Request::Put { name: Name::new(&"x".repeat(63)).unwrap(), kind: Kind::LogPipe },
        Request::Drop { name },
        Request::Fetch,
        Request::Register { pid: pid(1) },
        Request::Forget { pid: pid(i32::MAX) },
        Request::Stopping { action: Action::Halt },
        Request::Stop { action: Action::PowerOff },
        Request::Standing { standing: Standing::Settled },
        Request::Standing { standing: Standing::Trial { seconds: 600 } },
    ]
}

fn events() -> Vec<Event> {
    let signaled = |core| ExitStatus::Signaled { signal: 9, core };
    vec![
        Event::Done,
        Event::Stands { action: Action::Reboot },
        Event::Refused { why: Refusal::Full },
        Event::Refused { why: Refusal::NoDescriptor },
        Event::Entry { name: Name::new("log:a").unwrap(), kind: Kind::LogPipe, dropped: u64::MAX - 7 },
        Event::Status { pid: pid(77), status: ExitStatus::Exited(-3) },
        Event::Status { pid: pid(77), status: signaled(true) },
        Event::Fetched { generation: u32::MAX, last: None, hung: false },
        Event::Fetched { generation: 2, last: Some(signaled(false)), hung: true },
        Event::StopWanted { action: Action::Reboot, cause: Cause::CtrlAltDel },
        Event::StopWanted { action: Action::PowerOff, cause: Cause::Power },
        Event::StopWanted { action: Action::Halt, cause: Cause::Signal },
        Event::StopWanted { action: Action::PowerOff, cause: Cause::Button },
    ]
}

#[test]
fn frames_round_trip() {
    for request in requests() {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
        assert!(Event::decode(&request.encode()).is_err(), "{request:?} is no event");
    }
    for event in events() {
        assert_eq!(Event::decode(&event.encode()), Ok(event));
        assert!(Request::decode(&event.encode()).is_err(), "{event:?} is no request");
    }
}

/// Every single-byte change of every frame decodes to something or is refused, and what decodes encodes again to an equal value.
#[test]
fn changed_frames_never_break_the_decoder() {
    for original in requests().iter().map(Frame::encode).chain(events().iter().map(Frame::encode)) {
        for at in 0..FRAME_SIZE {
            for value in 0..=255 {
                let mut frame = original;
                frame[at] = value;
                if let Ok(request) = Request::decode(&frame) {
                    assert_eq!(Request::decode(&request.encode()), Ok(request));
                }
                if let Ok(event) = Event::decode(&frame) {
                    assert_eq!(Event::decode(&event.encode()), Ok(event));
                }
            }
        }
        assert!(Request::decode(&original[1..]).is_err());
        assert!(Event::decode(&[]).is_err());
    }
}

#[test]
fn names_are_checked() {
    assert!(Name::new("").is_err());
    assert!(Name::new(&"x".repeat(64)).is_err());
    assert!(Name::new("Gateway").is_err());
    assert!(Name::new("a b").is_err());
    assert_eq!(Name::new("pid:gateway").unwrap().as_str(), "pid:gateway");
}

#[test]
fn descriptors_travel_and_the_end_is_seen() {
    let (server, client) = pair().unwrap();
    assert_eq!(server.try_recv().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let put = Request::Put { name: Name::new("w").unwrap(), kind: Kind::Plain };
    client.try_send(&put, Some(writer.as_fd())).unwrap();
    drop(writer);
    client.try_send(&Request::Heartbeat, None).unwrap();
    // The client dies with an unread event: what it had sent is still received, then the end.
    server.try_send(&Event::Done, None).unwrap();
    drop(client);
    let (message, descriptor) = server.try_recv().unwrap().unwrap();
    assert_eq!(message, put);
    let mut writer = std::fs::File::from(descriptor.unwrap());
    writer.write_all(b"hello").unwrap();
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    let (message, descriptor) = server.try_recv().unwrap().unwrap();
    assert_eq!(message, Request::Heartbeat);
    assert!(descriptor.is_none());
    assert!(server.try_recv().unwrap().is_none());
    assert_eq!(server.try_send(&Event::Done, None).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

fuzz::targets! {
    link_frame: |bytes| {
        if let Ok(request) = Request::decode(bytes) {
            assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        }
        if let Ok(event) = Event::decode(bytes) {
            assert_eq!(Event::decode(&event.encode()).unwrap(), event);
        }
    },
}
