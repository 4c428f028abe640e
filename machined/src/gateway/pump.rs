//! Copies bytes both ways between a client and machined until both ways have ended.
//!
//! Invariant: an idle connection owns no buffer. The gateway has one thread, so one scratch buffer serves every
//! connection; only bytes that the other side does not take at once are kept, and nothing more is read before they are
//! gone. Ends of stream are passed on, each way for itself. Used by `session`.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One TLS record's worth, so that a full record leaves in one write.
const SCRATCH: usize = 16 * 1024;

/// How long the other way may still run when one has ended: the answer to a last request, not a connection for ever.
const LINGER: Duration = Duration::from_secs(30);

thread_local! {
    static BUFFER: RefCell<Box<[u8; SCRATCH]>> = RefCell::new(Box::new([0; SCRATCH]));
}

/// Runs until both ways have ended, one of the sides fails, or one way outlives the other by half a minute.
pub(super) async fn pump<A, B>(a: &mut A, b: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Way::default(), Way::default());
    std::future::poll_fn(|cx| {
        let up = poll_way(cx, a, b, &mut up)?;
        let down = poll_way(cx, b, a, &mut down)?;
        if up.is_ready() || down.is_ready() { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
    })
    .await?;
    let rest = std::future::poll_fn(|cx| {
        ready!(poll_way(cx, a, b, &mut up))?;
        poll_way(cx, b, a, &mut down)
    });
    // poll_way is fused: the way that has ended is ready again.
    tokio::time::timeout(LINGER, rest).await.unwrap_or(Ok(()))
}

/// How far one direction is.
#[derive(Default)]
struct Way {
    rest: Vec<u8>,
    sent: usize,
    unflushed: bool,
    ended: bool,
    shut: bool,
}

fn poll_way<F, T>(cx: &mut Context<'_>, from: &mut F, to: &mut T, way: &mut Way) -> Poll<io::Result<()>>
where
    F: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    loop {
        while way.sent < way.rest.len() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &way.rest[way.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => way.sent += n,
            }
        }
        (way.rest, way.sent) = (Vec::new(), 0);
        if way.ended {
            if !way.shut {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                way.shut = true;
            }
            return Poll::Ready(Ok(()));
        }
        if BUFFER.with_borrow_mut(|buffer| poll_copy(cx, from, to, way, &mut buffer[..]))?.is_pending() {
            // Nothing to read: what TLS still holds back must not wait for more.
            if way.unflushed {
                ready!(Pin::new(&mut *to).poll_flush(cx))?;
                way.unflushed = false;
            }
            return Poll::Pending;
        }
    }
}

/// Reads once and offers it to the other side once; what is not taken is kept in `way`.
fn poll_copy<F, T>(
    cx: &mut Context<'_>,
    from: &mut F,
    to: &mut T,
    way: &mut Way,
    buffer: &mut [u8],
) -> Poll<io::Result<()>>
where
    F: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
{
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
    let bytes = buffer.filled();
    if bytes.is_empty() {
        way.ended = true;
        return Poll::Ready(Ok(()));
    }
    way.unflushed = true;
    let taken = match Pin::new(to).poll_write(cx, bytes) {
        Poll::Ready(taken) => taken?,
        Poll::Pending => 0,
    };
    way.rest.extend_from_slice(&bytes[taken..]);
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn carries_both_ways_through_narrow_pipes_and_passes_on_each_end() {
        let (mut client, mut inner) = duplex(7);
        let (mut outer, mut server) = duplex(1000);
        let question: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let answer: Vec<u8> = question.iter().rev().copied().collect();
        let (mut client_read, mut client_write) = tokio::io::split(&mut client);
        let send = async {
            client_write.write_all(&question).await.unwrap();
            client_write.shutdown().await.unwrap();
        };
        let serve = async {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            assert!(got == question, "the half-closed way ended with all its bytes");
            server.write_all(&answer).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let receive = async {
            let mut got = Vec::new();
            client_read.read_to_end(&mut got).await.unwrap();
            assert!(got == answer);
        };
        let (copied, ..) = tokio::join!(pump(&mut inner, &mut outer), send, serve, receive);
        copied.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_way_does_not_outlive_the_other_for_ever() {
        let (client, mut inner) = duplex(10);
        let (mut outer, _server) = duplex(10);
        drop(client);
        let before = tokio::time::Instant::now();
        let _ = pump(&mut inner, &mut outer).await;
        assert_eq!(before.elapsed(), LINGER);
    }

    #[tokio::test]
    async fn an_idle_way_owns_nothing() {
        let (mut client, mut inner) = duplex(64);
        let (mut outer, mut server) = duplex(64);
        let mut way = Way::default();
        client.write_all(b"hello").await.unwrap();
        let first = std::future::poll_fn(|cx| Poll::Ready(poll_way(cx, &mut inner, &mut outer, &mut way).is_pending()));
        assert!(first.await);
        assert_eq!(way.rest.capacity(), 0);
        let mut got = [0; 5];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
    }
}
