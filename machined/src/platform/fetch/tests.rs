use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Answers each connection by the path that is asked for, until it is dropped.
#[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
async fn serve(tls: Option<TlsAcceptor>, answer: impl Fn(&str) -> String + Send + Sync + Clone + 'static) -> u16 {
    async fn one(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn(&str) -> String) {
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default();
        let _ = stream.write_all(answer(path).as_bytes()).await;
        let _ = stream.shutdown().await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            match &tls {
                None => one(stream, answer).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        one(stream, answer).await;
                    }
                }
            }
        }
    });
    port
}

async fn get(client: &Client, url: &str) -> Result<Option<String>, String> {
    let url = parse(url).map_err(|error| error.to_string())?;
    match client.get(&url).await {
        Ok(file) => Ok(file.map(|file| String::from_utf8_lossy(&file).into_owned())),
        Err(error) => Err(crate::trace::chain(&error)),
    }
}

fn response(path: &str) -> String {
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    match path {
        "/a?token=x" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".into(),
        "/until-the-end" => "HTTP/1.0 200 OK\r\n\r\nall of it".into(),
        "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".into(),
        "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi".into(),
        "/redirect" => redirect("/a?token=x"),
        "/loop" => redirect("/loop"),
        "/file" => redirect("file:///etc/passwd?x"),
        "/down" => redirect("http://127.0.0.1:1/secret"),
        "/secret?token=x" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".into(),
        "/large" => format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(RAW + 1)),
        "/odd" => "SSH-2.0-OpenSSH\r\n\r\n".into(),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
    }
}

#[tokio::test]
async fn files_over_http() {
    let client = Client::new().unwrap();
    let port = serve(None, response).await;
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    for (path, wanted) in [
        ("/a?token=x", Some("hi")),
        ("/until-the-end", Some("all of it")),
        ("/chunked", Some("hi")),
        ("/redirect", Some("hi")),
        ("/missing", None),
    ] {
        assert_eq!(get(&client, &at(path)).await.unwrap().as_deref(), wanted, "{path}");
    }
    for (url, wanted) in [
        (at("/secret?token=x"), "/secret answers 403 Forbidden"),
        (at("/loop"), "more than 3 times"),
        (at("/file"), "leads to file:///etc/passwd, which is not followed"),
        (at("/cut"), "does not speak HTTP"),
        (at("/odd"), "does not speak HTTP"),
        (at("/large"), "larger than 16 MiB"),
        ("http://127.0.0.1:1/".into(), "no connection to http://127.0.0.1:1/"),
        ("ftp://h/".into(), "ftp://h/ is no address"),
        ("http://u:p@h/".into(), "http://h/ is no address"),
        ("/etc/passwd".into(), "no address"),
    ] {
        let said = get(&client, &url).await.unwrap_err();
        assert!(said.contains(wanted), "{said} wants {wanted}");
        assert!(!said.contains("token") && !said.contains("u:p"), "{said}");
    }
}

#[tokio::test]
async fn https_is_checked() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let port = serve(Some(TlsAcceptor::from(Arc::new(server))), response).await;
    let at = |path: &str| format!("https://localhost:{port}{path}");

    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let trusting = Client::trusting(Arc::new(roots)).unwrap();
    assert_eq!(get(&trusting, &at("/a?token=x")).await.unwrap().as_deref(), Some("hi"));
    assert!(get(&trusting, &at("/down")).await.unwrap_err().contains("not followed"));
    let said = get(&Client::new().unwrap(), &at("/a")).await.unwrap_err();
    assert!(said.contains("UnknownIssuer") || said.contains("CaUsedAsEndEntity"), "{said}");
}
