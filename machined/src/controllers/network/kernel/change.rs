//! From one change to the message that makes it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, RouteMessageBuilder};

use super::{made, solicit};
use crate::controllers::network::netlink::{Change, Error, OUR_GROUP, OURS, RouteState};
use crate::resources::virtual_link::Virtual;

/// "No such device": it went away between looking and acting.
const ENODEV: i32 = 19;
/// "Operation not supported": said to who asks for a kind of link that no loaded module knows.
const EOPNOTSUPP: i32 = 95;

pub(super) async fn apply(handle: Handle, change: &Change) -> Result<(), Error> {
    let done = match change {
        Change::SetAcceptRa { link, value } => {
            sysctl(link, "accept_ra", *value)?;
            if *value > 0
                && let Err(error) = solicit::routers(index(&handle, link).await?)
            {
                // It is off, or has no address yet: the kernel asks when it has.
                tracing::debug!("network: {link} does not ask for routers: {error}");
            }
            return Ok(());
        }
        Change::CreateLink { link, make } => {
            let parent = match make {
                Virtual::Vlan(vlan) => Some(index(&handle, &vlan.link).await?),
                Virtual::Bond(_) => None,
            };
            let done = handle.link().add(made::create(link, make, parent)).execute().await;
            if done.as_ref().is_err_and(|error| code(error) == EOPNOTSUPP) {
                return Err(Error::NoModule { kind: make.kind(), module: make.module() });
            }
            done
        }
        Change::DeleteLink { link } => handle.link().del(index(&handle, link).await?).execute().await,
        Change::ClaimLink { link } => {
            let message = LinkUnspec::new_with_index(index(&handle, link).await?).link_group(OUR_GROUP);
            handle.link().change(message.build()).execute().await
        }
        Change::ChangeBond { link, bond, rate } => {
            let primary = match &bond.primary {
                Some(primary) => index(&handle, primary).await?,
                None => 0,
            };
            let message = made::change(index(&handle, link).await?, bond, *rate, primary);
            handle.link().change(message).execute().await
        }
        Change::SetController { link, controller } => {
            let message = LinkUnspec::new_with_index(index(&handle, link).await?);
            let message = match controller {
                Some(controller) => message.controller(index(&handle, controller).await?),
                None => message.nocontroller(),
            };
            handle.link().change(message.build()).execute().await
        }
        Change::SetUp { link, up } => {
            let message = LinkUnspec::new_with_index(index(&handle, link).await?);
            let message = if *up { message.up() } else { message.down() };
            handle.link().change(message.build()).execute().await
        }
        Change::SetMtu { link, mtu } => {
            let message = LinkUnspec::new_with_index(index(&handle, link).await?).mtu(*mtu);
            handle.link().change(message.build()).execute().await
        }
        Change::AddAddress { link, address } => {
            let index = index(&handle, link).await?;
            let mut request = handle.address().add(index, address.addr(), address.prefix_len());
            *request.message_mut() = address_message(index, *address);
            request.execute().await
        }
        Change::RemoveAddress { link, address } => {
            let index = index(&handle, link).await?;
            handle.address().del(address_message(index, *address)).execute().await
        }
        Change::AddRoute { route, replace } => {
            let request = handle.route().add(route_message(route, index(&handle, &route.link).await?));
            if *replace { request.replace().execute().await } else { request.execute().await }
        }
        Change::RemoveRoute(route) => {
            handle.route().del(route_message(route, index(&handle, &route.link).await?)).execute().await
        }
    };
    done.map_err(|source| Error::Refused { change: Box::new(change.clone()), source })
}

/// The kernel's number of the error, 0 when it is not the kernel's.
fn code(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(error) => error.raw_code().abs(),
        _ => 0,
    }
}

async fn index(handle: &Handle, link: &str) -> Result<u32, Error> {
    let found = handle.link().get().match_name(link.to_owned()).execute().try_collect::<Vec<_>>().await;
    match found {
        Ok(links) => links.first().map(|link| link.header.index).ok_or_else(|| Error::Gone(link.to_owned())),
        Err(error) if code(&error) == ENODEV => Err(Error::Gone(link.to_owned())),
        Err(source) => Err(Error::List { what: "a link", source }),
    }
}

fn sysctl(link: &str, setting: &str, value: u8) -> Result<(), Error> {
    let path = format!("/proc/sys/net/ipv6/conf/{link}/{setting}");
    std::fs::write(&path, value.to_string()).map_err(|source| Error::Sysctl { path, source })
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let len = address.prefix_len();
    let mut message = match address.addr() {
        IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, len).build(),
        IpAddr::V6(address) => AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, len).build(),
    };
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(OURS)));
    message
}

fn route_message(route: &RouteState, index: u32) -> RouteMessage {
    let len = route.destination.prefix_len();
    let mut message = match route.destination.addr() {
        IpAddr::V4(to) => {
            let mut builder = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, len);
            if let Some(IpAddr::V4(gateway)) = route.gateway {
                builder = builder.gateway(gateway);
            }
            if let Some(IpAddr::V4(source)) = route.preferred_source {
                builder = builder.pref_source(source);
            }
            builder.output_interface(index).priority(route.metric).build()
        }
        IpAddr::V6(to) => {
            let mut builder = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to, len);
            if let Some(IpAddr::V6(gateway)) = route.gateway {
                builder = builder.gateway(gateway);
            }
            if let Some(IpAddr::V6(source)) = route.preferred_source {
                builder = builder.pref_source(source);
            }
            builder.output_interface(index).priority(route.metric).build()
        }
    };
    message.header.protocol = RouteProtocol::from(route.protocol);
    // The kernel refuses an IPv4 route without a gateway of a wider scope than "on this link".
    if route.gateway.is_none() && message.header.address_family == AddressFamily::Inet {
        message.header.scope = RouteScope::Link;
    }
    message
}
