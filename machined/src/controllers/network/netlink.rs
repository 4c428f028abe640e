//! What the network controllers need of the kernel, as one small trait: the whole state, and one change at a time. The
//! real one is `kernel`, tests use a model. Links are named, never numbered: an index is looked up when a change is made.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::resources::address::AddressScope;
use crate::resources::link::{LinkKind, OperState};
use crate::resources::virtual_link::{Bond, Virtual};

/// The protocol number on the addresses (IFA_PROTO) and routes (rtm_protocol) that machined makes: how a new machined
/// knows them again. 0x53; numbers from 4 on are free for programs and no routing daemon has this one.
pub const OURS: u8 = 0x53;

/// The group (IFLA_GROUP) of the links that machined makes, for the same purpose: the kernel takes it with the request that
/// makes the link, so that there is no moment without it.
pub const OUR_GROUP: u32 = 0x53;

/// IFAPROT_KERNEL_RA (linux/if_addr.h): on the addresses that the kernel makes from a router's announcements.
pub const ADDRESS_ROUTER: u8 = 2;

/// RTPROT_RA (linux/rtnetlink.h): on the routes that the kernel makes from them.
pub const ROUTE_ROUTER: u8 = 9;

/// A link as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The kernel's number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// "bridge", "vlan"; empty for devices.
    pub virtual_kind: String,
    /// Hardware address.
    pub mac: Vec<u8>,
    /// The one it was made with; empty when the driver does not say.
    pub permanent_mac: Vec<u8>,
    /// `OUR_GROUP` when machined made it.
    pub group: u32,
    /// The number of the link it is on.
    pub parent: Option<u32>,
    /// A bond or a VLAN, as it is; none for everything else, and for a bond in a mode that is not known here.
    pub made: Option<Virtual>,
    /// Largest packet.
    pub mtu: u32,
    /// The smallest and the largest that its driver takes, where it says so.
    pub mtu_limits: (u32, Option<u32>),
    /// Switched on.
    pub up: bool,
    /// A cable with something at its other end.
    pub carrier: bool,
    /// How often the cable was lost since the link is there: a loss that is over before anybody looks shows here alone.
    pub carrier_losses: u32,
    /// RFC 2863.
    pub oper_state: OperState,
    /// The number of the bond or bridge it is a port of.
    pub controller: Option<u32>,
    /// The number of the port that a bond sends by, in modes that send by one.
    pub active_port: Option<u32>,
    /// /proc/sys/net/ipv6/conf/<link>/accept_ra; absent without IPv6.
    pub accept_ra: Option<u8>,
}

/// An address as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressState {
    /// The link.
    pub link: String,
    /// Address and prefix length.
    pub address: IpNet,
    /// How far it reaches.
    pub scope: AddressScope,
    /// Who made it; 0 when the kernel does not say.
    pub protocol: u8,
    /// Duplicate detection runs or failed.
    pub tentative: bool,
    /// Not for new connections.
    pub deprecated: bool,
}

/// A route of the main table, one next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteState {
    /// The link; empty when there is none.
    pub link: String,
    /// Where to.
    pub destination: IpNet,
    /// Next machine.
    pub gateway: Option<IpAddr>,
    /// Address packets leave with.
    pub preferred_source: Option<IpAddr>,
    /// The lower wins.
    pub metric: u32,
    /// Who made it.
    pub protocol: u8,
}

/// Everything the controllers look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// All links.
    pub links: Vec<LinkState>,
    /// All addresses.
    pub addresses: Vec<AddressState>,
    /// The main table.
    pub routes: Vec<RouteState>,
}

/// One change of the kernel's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes a link and marks it as ours; a bond has no ports yet and no primary one.
    CreateLink {
        /// The link.
        link: String,
        /// How.
        make: Virtual,
    },
    /// Takes away a link of ours, with everything that is on it.
    DeleteLink {
        /// The link.
        link: String,
    },
    /// Marks a link that is as it shall be already as ours.
    ClaimLink {
        /// The link.
        link: String,
    },
    /// Changes all of a bond but its mode and its ports.
    ChangeBond {
        /// The bond.
        link: String,
        /// As it shall be.
        bond: Bond,
        /// Tells the LACP rate, too: the kernel refuses that while the bond is on, be it the same.
        rate: bool,
    },
    /// Makes a link that is off a port of a bond, which switches it on; or no port any more, which switches it off.
    SetController {
        /// The link.
        link: String,
        /// The bond.
        controller: Option<String>,
    },
    /// Switches a link on or off.
    SetUp {
        /// The link.
        link: String,
        /// On.
        up: bool,
    },
    /// Sets the largest packet.
    SetMtu {
        /// The link.
        link: String,
        /// Bytes.
        mtu: u32,
    },
    /// Sets accept_ra; a link that is on asks for routers when it shall listen to them.
    SetAcceptRa {
        /// The link.
        link: String,
        /// 0: never; 2: also while the machine forwards packets.
        value: u8,
    },
    /// Takes away a route of ours, or of a router's.
    RemoveRoute(RouteState),
    /// Takes away an address of ours, or of a router's.
    RemoveAddress {
        /// The link.
        link: String,
        /// The address.
        address: IpNet,
    },
    /// Adds an address and marks it as ours.
    AddAddress {
        /// The link.
        link: String,
        /// The address.
        address: IpNet,
    },
    /// Adds a route and marks it as ours.
    AddRoute {
        /// The route; its protocol is `OURS`.
        route: RouteState,
        /// One of ours with the same destination and metric is there and is replaced without a gap.
        replace: bool,
    },
}

impl Change {
    /// The link it is about.
    pub fn link(&self) -> &str {
        match self {
            Self::CreateLink { link, .. }
            | Self::DeleteLink { link }
            | Self::ClaimLink { link }
            | Self::ChangeBond { link, .. }
            | Self::SetController { link, .. }
            | Self::SetUp { link, .. }
            | Self::SetMtu { link, .. }
            | Self::SetAcceptRa { link, .. }
            | Self::RemoveAddress { link, .. }
            | Self::AddAddress { link, .. } => link,
            Self::RemoveRoute(route) | Self::AddRoute { route, .. } => &route.link,
        }
    }
}

/// The kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket.
    #[error("cannot open a netlink socket")]
    Socket(#[source] std::io::Error),
    /// A dump failed.
    #[error("cannot list {what} by netlink")]
    List {
        /// "links", "addresses", "routes".
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: rtnetlink::Error,
    },
    /// A change failed.
    #[error("the kernel refused {change:?}")]
    Refused {
        /// What was asked.
        change: Box<Change>,
        /// What the kernel said.
        #[source]
        source: rtnetlink::Error,
    },
    /// The kernel has no such kind of link, yet.
    #[error("the kernel cannot make a {kind} before its module {module} is loaded")]
    NoModule {
        /// "bond".
        kind: &'static str,
        /// "bonding".
        module: &'static str,
    },
    /// A setting under /proc/sys could not be written.
    #[error("cannot write {path}")]
    Sysctl {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The link went away between looking and acting; the next cycle sees it.
    #[error("link {0} is gone")]
    Gone(String),
}

/// The kernel's network state.
pub trait Netlink: Send + Sync + 'static {
    /// Reads everything.
    fn observe(&self) -> impl Future<Output = Result<Observed, Error>> + Send;
    /// Makes one change.
    fn apply(&self, change: &Change) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Tells that something changed; what, is read again.
pub trait Changes: Send + 'static {
    /// Returns after at least one change since the last call. Cancel-safe.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}
