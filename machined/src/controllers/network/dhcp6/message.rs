//! DHCPv6 messages (RFC 8415, 8; RFC 3646) to and from bytes: the few options that a client of one address needs. Whatever
//! arrives is outside input: nothing here panics on it, and what does not parse is left out.

use std::net::Ipv6Addr;

use crate::controllers::network::dhcp4::options::domains;

/// More addresses of one answer are not looked at: one is asked for.
const SERVERS_MAX: usize = 16;

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const IA_NA: u16 = 3;
const IA_ADDRESS: u16 = 5;
const WANTED: u16 = 6;
const ELAPSED: u16 = 8;
const STATUS: u16 = 13;
const SERVERS: u16 = 23;
const SEARCH: u16 = 24;
/// A server may slow down those who ask in vain (RFC 8415, 21.24).
const SLOWEST: u16 = 82;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who gives addresses?
    Solicit,
    /// I do.
    Advertise,
    /// Then give me this one.
    Request,
    /// Am I still in the network of this one?
    Confirm,
    /// May I keep it, asked of who gave it.
    Renew,
    /// The same, asked of anybody.
    Rebind,
    /// The answer to all but the first.
    Reply,
}

const KINDS: [(Kind, u8); 7] = [
    (Kind::Solicit, 1),
    (Kind::Advertise, 2),
    (Kind::Request, 3),
    (Kind::Confirm, 4),
    (Kind::Renew, 5),
    (Kind::Rebind, 6),
    (Kind::Reply, 7),
];

/// What a status says (RFC 8415, 21.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Success,
    /// The server knows nothing of this address: request it anew.
    NoBinding,
    /// The address is of another network.
    NotOnLink,
    /// Anything else that is not success.
    Other(u16),
}

/// An address for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The address.
    pub address: Ipv6Addr,
    /// For new connections, in seconds.
    pub preferred: u32,
    /// At all, in seconds; 0: no longer.
    pub valid: u32,
}

/// A set of addresses, of which one is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Association {
    /// The client's number of it.
    pub id: u32,
    /// Renew after this many seconds; 0: as the client likes.
    pub t1: u32,
    /// Ask anybody after this many seconds.
    pub t2: u32,
    /// The first address that is still valid, else the first.
    pub granted: Option<Granted>,
    /// What the server says of it.
    pub status: Option<Status>,
}

/// A message, either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What for.
    pub kind: Kind,
    /// Ties answers to questions; 24 bits.
    pub xid: u32,
    /// The client's name for itself.
    pub client: Vec<u8>,
    /// The server's.
    pub server: Option<Vec<u8>>,
    /// The address.
    pub association: Option<Association>,
    /// What the server says of all of it.
    pub status: Option<Status>,
    /// Hundredths of a second since the question was first asked.
    pub elapsed: u16,
    /// The longest pause between questions for a server, in seconds; a value that RFC 8415, 21.24 does not allow is none.
    pub slowest: Option<u32>,
    /// Name servers.
    pub servers: Vec<Ipv6Addr>,
    /// Search domains.
    pub search: Vec<String>,
}

impl Message {
    /// A question, without an address yet.
    pub fn ask(kind: Kind, xid: u32, client: Vec<u8>) -> Self {
        Self {
            kind,
            xid: xid & 0x00ff_ffff,
            client,
            server: None,
            association: None,
            status: None,
            elapsed: 0,
            slowest: None,
            servers: Vec::new(),
            search: Vec::new(),
        }
    }

    /// A question's bytes, as they go over UDP.
    pub fn format(&self) -> Vec<u8> {
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or(0, |(_, number)| *number);
        let mut bytes = (u32::from(kind) << 24 | self.xid & 0x00ff_ffff).to_be_bytes().to_vec();
        option(&mut bytes, CLIENT_ID, &self.client);
        if let Some(server) = &self.server {
            option(&mut bytes, SERVER_ID, server);
        }
        option(&mut bytes, ELAPSED, &self.elapsed.to_be_bytes());
        if self.kind != Kind::Confirm {
            option(&mut bytes, WANTED, &[SERVERS, SEARCH, SLOWEST].map(u16::to_be_bytes).concat());
        }
        if let Some(association) = &self.association {
            let mut inside = [association.id, 0, 0].map(u32::to_be_bytes).concat();
            if let Some(granted) = association.granted {
                let mut address = granted.address.octets().to_vec();
                address.extend([0; 8]);
                option(&mut inside, IA_ADDRESS, &address);
            }
            option(&mut bytes, IA_NA, &inside);
        }
        bytes
    }

    /// Reads an answer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, options) = bytes.split_first_chunk::<4>()?;
        let kind = KINDS.iter().find(|(_, number)| *number == head[0])?.0;
        let mut message = Self::ask(kind, u32::from_be_bytes(*head), Vec::new());
        for (code, value) in each(options) {
            match code {
                CLIENT_ID => message.client = value.to_vec(),
                SERVER_ID => message.server = Some(value.to_vec()),
                IA_NA => message.association = message.association.or_else(|| association(value)),
                STATUS => message.status = status(value),
                SERVERS => {
                    let servers = value.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets));
                    let usable = servers.filter(|server| !server.is_unspecified() && !server.is_multicast());
                    message.servers = usable.take(SERVERS_MAX).collect();
                }
                SLOWEST => message.slowest = number(value, 0).filter(|seconds| (60..=86_400).contains(seconds)),
                SEARCH => message.search = domains(value),
                _ => {}
            }
        }
        Some(message)
    }
}

fn option(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    bytes.extend(code.to_be_bytes());
    // What we write is short.
    bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(value);
}

/// Codes and values; a cut one ends the list.
fn each(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (value, rest) = rest.split_at_checked(len)?;
        bytes = rest;
        Some((u16::from_be_bytes([head[0], head[1]]), value))
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn association(bytes: &[u8]) -> Option<Association> {
    let (id, t1, t2) = (number(bytes, 0)?, number(bytes, 4)?, number(bytes, 8)?);
    let mut found = Association { id, t1, t2, granted: None, status: None };
    for (code, value) in each(bytes.get(12..)?) {
        match code {
            IA_ADDRESS => {
                let granted = granted(value);
                if found.granted.is_none_or(|have| have.valid == 0) {
                    found.granted = granted.or(found.granted);
                }
            }
            STATUS => found.status = status(value),
            _ => {}
        }
    }
    Some(found)
}

fn granted(bytes: &[u8]) -> Option<Granted> {
    let octets: [u8; 16] = bytes.get(..16)?.try_into().ok()?;
    let (address, preferred, valid) = (Ipv6Addr::from(octets), number(bytes, 16)?, number(bytes, 20)?);
    let refused = each(bytes.get(24..)?).any(|(code, value)| code == STATUS && status(value) != Some(Status::Success));
    let host = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    (host && !refused && preferred <= valid).then_some(Granted { address, preferred, valid })
}

fn status(bytes: &[u8]) -> Option<Status> {
    Some(match u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?) {
        0 => Status::Success,
        3 => Status::NoBinding,
        4 => Status::NotOnLink,
        other => Status::Other(other),
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
pub(super) mod tests;
