//! Small servers between a pull and a registry: one that cuts, one that lies, one that is silent, one that is a real proxy.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is done to what a registry answers.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// Every connection is over after so many bytes.
    Cut(usize),
    /// The same; and after so many connections nobody is there any more.
    Gone(usize, usize),
    /// One byte of every large answer is another one.
    Lie,
    /// Connections are taken, and nothing is ever said.
    Silent,
    /// A byte now and then.
    Crawl,
    /// CONNECT is done, to the registry whatever the name; other requests are passed on.
    Proxy,
}

/// Listens as long as the test runs.
pub(crate) struct Between {
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    connections: Arc<AtomicUsize>,
}

impl Between {
    pub(crate) fn start(registry: &str, how: How) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (registry, counter) = (registry.to_owned(), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let registry = registry.clone();
                let before = counter.fetch_add(1, Ordering::Relaxed);
                let how = match how {
                    How::Gone(_, most) if before >= most => How::Cut(0),
                    How::Gone(after, _) => How::Cut(after),
                    other => other,
                };
                std::thread::spawn(move || drop(serve(stream.unwrap(), &registry, how)));
            }
        });
        Self { address, connections }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(mut client: TcpStream, registry: &str, how: How) -> std::io::Result<()> {
    if matches!(how, How::Silent) {
        client.read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    if matches!(how, How::Crawl) {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        // until the other side has had enough; the pause is what is tested
        loop {
            client.write_all(b" ")?;
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
    }
    let mut server = TcpStream::connect(registry)?;
    if matches!(how, How::Proxy) {
        let head = head(&mut client)?;
        if head.starts_with("CONNECT ") {
            assert!(head.contains("Proxy-Authorization: Basic dTpw\r\n"), "{head}");
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        } else {
            // a registry takes whole addresses as well
            server.write_all(head.as_bytes())?;
        }
    }
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut sent, mut chunk) = (0, [0; 16 * 1024]);
    loop {
        let read = server.read(&mut chunk)?;
        if read == 0 {
            return client.shutdown(Shutdown::Both);
        }
        let mut bytes = &mut chunk[..read];
        match how {
            How::Cut(after) if sent + read > after => {
                bytes = &mut bytes[..after - sent];
                client.write_all(bytes)?;
                server.shutdown(Shutdown::Both)?;
                return client.shutdown(Shutdown::Both);
            }
            // behind the headers, and beyond what manifests have
            How::Lie if (sent..sent + read).contains(&100_000) => bytes[100_000 - sent] ^= 1,
            _ => {}
        }
        client.write_all(bytes)?;
        sent += read;
    }
}

fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
