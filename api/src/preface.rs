//! A connection on which the client's first words of HTTP/2 were already said.
//!
//! In TLS 1.3 a client is done with the handshake before the server has looked at its certificate, and a server says nothing
//! until it is spoken to. So `connect` says these words at once: the answer is the server's own first words, or the alert
//! that tells why the client is not let in. What is built on top says them once more, into the void.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first words were said.
#[derive(Debug)]
pub(crate) struct Spoken<S> {
    stream: S,
    /// How many bytes of what is written were already sent.
    said: usize,
}

/// Says them.
pub(crate) async fn say<S: AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(PREFACE).await?;
    stream.flush().await
}

impl<S> Spoken<S> {
    /// Once [`say`] was called on it.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, said: PREFACE.len() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Spoken<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Spoken<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let again = self.said.min(buf.len());
        if again == 0 {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        }
        if buf[..again] != PREFACE[PREFACE.len() - self.said..][..again] {
            return Poll::Ready(Err(io::Error::other("what is spoken on this connection is not HTTP/2")));
        }
        self.said -= again;
        Poll::Ready(Ok(again))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn they_arrive_once_however_they_are_written() {
        for piece in [1, 5, 24, 30] {
            let (ours, mut theirs) = tokio::io::duplex(256);
            let mut ours = ours;
            say(&mut ours).await.unwrap();
            let mut spoken = Spoken::new(ours);
            for bytes in [PREFACE, b"settings"].concat().chunks(piece) {
                spoken.write_all(bytes).await.unwrap();
            }
            drop(spoken);
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, [PREFACE, b"settings"].concat(), "{piece}");
        }
        let (ours, _theirs) = tokio::io::duplex(256);
        assert!(Spoken::new(ours).write_all(b"GET /").await.is_err());
    }
}
