//! Asks one time server (SNTP, RFC 5905), by the crate `rsntp`.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rsntp::{AsyncSntpClient, Config, KissCode, ProtocolError, SynchronizationError};

/// NTP's port.
const PORT: u16 = 123;
/// For one address to answer: half around the world and back takes a third of a second.
const ANSWER: Duration = Duration::from_secs(2);
/// For a name: the resolver asks each name server for five seconds.
const NAME: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 3;

/// How long a server that says it is asked too often is left alone: as long as the longest pause between questions.
pub(super) const SLOWER: Duration = Duration::from_secs(1024);
/// How long one that wants nothing to do with us is (RFC 5905, 7.4): not for ever, because its answer is not signed, and its
/// operator may let us in.
pub(super) const DENIED: Duration = Duration::from_secs(3600);

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The server, as it was named.
    pub(super) server: String,
    /// What the clock has to gain, in microseconds.
    pub(super) offset_us: i64,
    /// How long the answer took.
    pub(super) delay_us: i64,
    /// 1 has a reference clock.
    pub(super) stratum: u8,
}

/// Why there is no time of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoTime {
    pub(super) why: String,
    /// It wants to be left alone so long.
    pub(super) rest: Option<Duration>,
}

impl From<String> for NoTime {
    fn from(why: String) -> Self {
        Self { why, rest: None }
    }
}

/// Who can be asked.
pub(crate) trait Servers: Clone + Send + Sync + 'static {
    /// The time of a server, or why there is none. Takes bounded time.
    fn ask(&self, server: String) -> impl Future<Output = Result<Sample, NoTime>> + Send;
}

/// The network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sntp;

impl Servers for Sntp {
    async fn ask(&self, server: String) -> Result<Sample, NoTime> {
        // Addresses with a scope go through the resolver, too: fe80::1%eth0.
        let found = tokio::time::timeout(NAME, tokio::net::lookup_host((server.as_str(), PORT))).await;
        let addresses = found
            .map_err(|_| format!("no name server knew it within {} s", NAME.as_secs()))?
            .map_err(|error| format!("it cannot be found: {error}"))?;
        let mut no = NoTime::from("its name has no address".to_owned());
        for address in addresses.take(ADDRESSES) {
            match ask(&server, address).await {
                Ok(sample) => return Ok(sample),
                Err(NoTime { why, rest }) => {
                    no = NoTime { why: format!("{}: {why}", address.ip()), rest: rest.max(no.rest) };
                }
            }
        }
        Err(no)
    }
}

async fn ask(server: &str, address: SocketAddr) -> Result<Sample, NoTime> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let client = AsyncSntpClient::with_config(Config::default().bind_address(any).timeout(ANSWER));
    let result = client.synchronize(address).await.map_err(|error| match error {
        SynchronizationError::IOError(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            NoTime::from(format!("no answer within {} s", ANSWER.as_secs()))
        }
        error => NoTime { why: error.to_string(), rest: rest(&error) },
    })?;
    let (offset, delay) = (result.clock_offset().as_secs_f64(), result.round_trip_delay().as_secs_f64());
    Ok(Sample {
        server: server.to_owned(),
        offset_us: microseconds(offset),
        delay_us: microseconds(delay),
        stratum: result.stratum(),
    })
}

/// How long a server wants to be left alone (RFC 5905, 7.4).
fn rest(error: &SynchronizationError) -> Option<Duration> {
    let SynchronizationError::ProtocolError(ProtocolError::KissODeath(kiss)) = error else { return None };
    match kiss {
        KissCode::RateExceeded => Some(SLOWER),
        KissCode::AccessDenied => Some(DENIED),
        _ => None,
    }
}

/// Clocks that are off by more than a hundred thousand years are off by that.
#[expect(clippy::cast_possible_truncation, reason = "a cast from a float saturates")]
fn microseconds(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    /// A server whose clock is ahead by ten seconds answers one question.
    async fn serve(socket: UdpSocket, stratum: u8, kiss: &[u8; 4]) {
        let mut packet = [0u8; 48];
        let (_, from) = socket.recv_from(&mut packet).await.unwrap();
        let (asked, now) = (packet[40..48].to_vec(), std::time::SystemTime::now());
        let unix = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let seconds = u32::try_from((unix + 10 + 2_208_988_800) & 0xffff_ffff).unwrap().to_be_bytes();
        let mut answer = [0u8; 48];
        (answer[0], answer[1]) = (0b00_100_100, stratum);
        answer[12..16].copy_from_slice(kiss);
        answer[24..32].copy_from_slice(&asked);
        for at in [32, 40] {
            answer[at..at + 4].copy_from_slice(&seconds);
            answer[at + 4] = 0x80;
        }
        socket.send_to(&answer, from).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_is_asked_over_either_family() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 cannot try it.
            let Ok(socket) = UdpSocket::bind(any).await else { continue };
            let address = socket.local_addr().unwrap();
            let (sample, ()) = tokio::join!(ask("here", address), serve(socket, 2, &[0; 4]));
            let sample = sample.unwrap();
            assert!((8_000_000..12_000_000).contains(&sample.offset_us), "{sample:?}");
            assert_eq!((sample.server.as_str(), sample.stratum), ("here", 2));
        }
    }

    #[tokio::test]
    async fn one_that_wants_to_be_left_alone_is_heard() {
        for (kiss, rest) in [(b"RATE", Some(SLOWER)), (b"DENY", Some(DENIED)), (b"RSTR", Some(DENIED)), (b"INIT", None)]
        {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let (sample, ()) = tokio::join!(ask("here", address), serve(socket, 0, kiss));
            assert_eq!(sample.unwrap_err().rest, rest, "{kiss:?}");
        }
    }

    #[tokio::test]
    async fn one_that_has_no_time_or_is_not_there_gives_none() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (sample, ()) = tokio::join!(ask("here", address), serve(socket, 16, &[0; 4]));
        assert!(sample.unwrap_err().why.contains("not synchronized"));
        // Nobody listens there any more.
        assert!(ask("here", address).await.is_err());
    }
}
