//! One question to a declared gate. Bounded in time; nothing is kept.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::kinds::{Ask as Asks, Gate};
use tokio::net::TcpStream;

use crate::{blocking, platform};

/// What `system/roots` makes of the document TrustedRoots.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// For one answer.
const WITHIN: Duration = Duration::from_secs(10);

/// What is asked over and over; services and confirmations are looked up instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Tcp(String),
    Http(String),
    Writable(PathBuf),
}

impl Ask {
    pub(super) fn of(body: &Gate) -> Option<Self> {
        match body.ask()? {
            Asks::Tcp(to) => Some(Self::Tcp(to.to_owned())),
            Asks::Http(url) => Some(Self::Http(url.to_owned())),
            Asks::Writable(folder) => Some(Self::Writable(folder.into())),
            Asks::Service(_) | Asks::Confirm => None,
        }
    }
}

/// What a gate asks for.
pub(super) fn words(body: &Gate) -> String {
    match body.ask() {
        Some(Asks::Tcp(to)) => format!("something listens at {to}"),
        Some(Asks::Http(url)) => format!("{url} answers"),
        Some(Asks::Service(name)) => format!("the service {name} is well"),
        Some(Asks::Writable(folder)) => format!("{folder} can be written"),
        Some(Asks::Confirm) => "an operator confirms it".to_owned(),
        None => "nothing".to_owned(),
    }
}

/// Asks once; why not.
pub(super) async fn once(ask: &Ask) -> Result<(), String> {
    let asked = async {
        match ask {
            Ask::Tcp(to) => TcpStream::connect(to).await.map(drop).map_err(|error| error.to_string()),
            Ask::Http(url) => platform::fetch::answers(url, Path::new(ROOTS)).await,
            Ask::Writable(folder) => {
                let folder = folder.clone();
                blocking::run(move || write(&folder)).await.map_err(|error| error.to_string())
            }
        }
    };
    let late = |_| Err(format!("no answer within {} s", WITHIN.as_secs()));
    tokio::time::timeout(WITHIN, asked).await.unwrap_or_else(late)
}

fn write(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(".stele-gate");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(b"gate\n")?;
    file.sync_all()?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_and_a_folder() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        assert_eq!(once(&Ask::Tcp(at.clone())).await, Ok(()));
        drop(listener);
        assert!(once(&Ask::Tcp(at)).await.unwrap_err().contains("refused"));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(once(&Ask::Writable(folder.path().into())).await, Ok(()));
        assert!(once(&Ask::Writable(folder.path().join("none"))).await.is_err());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
