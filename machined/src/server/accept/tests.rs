use std::{net::SocketAddr, path::PathBuf};

use tokio::io::AsyncWriteExt;

use super::*;

fn me() -> u32 {
    rustix::process::getuid().as_raw()
}

struct Server {
    _folder: tempfile::TempDir,
    path: PathBuf,
    taken: mpsc::Receiver<Connection>,
    _tasks: JoinSet<()>,
}

fn server(gateway: u32) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let listener = crate::server::sockets::open(&path, me(), None).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let (to, taken) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, gateway, to));
    Server { _folder: folder, path, taken, _tasks: tasks }
}

fn preamble() -> Vec<u8> {
    let address: SocketAddr = "[2001:db8::1]:4000".parse().unwrap();
    Preamble { address, certificate: None }.format().unwrap()
}

#[tokio::test]
async fn a_good_opening_is_taken_and_the_preface_replayed() {
    let mut server = server(me());
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    stream.write_all(&preamble()).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(b"then frames").await.unwrap();
    let mut connection = server.taken.recv().await.unwrap();
    assert_eq!(connection.peer().to_string(), "2001:db8::1");
    let mut read = [0; 35];
    connection.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthen frames");
}

#[tokio::test]
async fn each_bad_opening_is_closed_and_the_next_client_served() {
    let mut server = server(me());
    let mut oversize = preamble();
    oversize[5..9].copy_from_slice(&100_000u32.to_be_bytes());
    let cases: [(&str, Vec<u8>); 5] = [
        ("no preamble", PREFACE.to_vec()),
        ("HTTP/1 in it", [preamble(), b"GET / HTTP/1.1\r\nHost: node\r\n\r\n".to_vec()].concat()),
        ("oversize", oversize),
        ("noise", vec![0xa5; 5000]),
        ("wrong version", b"STLP\x02\0\0\0\0".to_vec()),
    ];
    for (name, bytes) in cases {
        let mut stream = UnixStream::connect(&server.path).await.unwrap();
        // The server may close while we still write.
        let _ = stream.write_all(&bytes).await;
        let end = stream.read(&mut [0; 1]).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{name}");
    }
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    stream.write_all(&[preamble(), PREFACE.to_vec()].concat()).await.unwrap();
    server.taken.recv().await.unwrap();
}

#[tokio::test]
async fn a_slow_opening_is_closed() {
    let server = server(me());
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    stream.write_all(&preamble()[..20]).await.unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(begun.elapsed() >= OPENING && begun.elapsed() < OPENING * 3);
}

#[tokio::test]
async fn another_uid_is_refused() {
    let server = server(me() + 1);
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    let _ = stream.write_all(&[preamble(), PREFACE.to_vec()].concat()).await;
    let end = stream.read(&mut [0; 1]).await;
    assert!(matches!(end, Ok(0) | Err(_)));
}
