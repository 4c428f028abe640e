//! The kernel's side of `Netlink`, over rtnetlink.
//!
//! Each call opens a socket of its own and closes it: changes are rare, and a connection that lives on would need a task
//! that somebody watches. Reading what arrives unasked is `listen`.

mod change;
mod dump;
pub mod listen;
mod made;
mod solicit;

use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::Handle;
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::{AddressFamily, link::LinkMessage};

use super::netlink::{Change, Error, Netlink, Observed};

/// The network namespace that the process is in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Netlink for Kernel {
    async fn observe(&self) -> Result<Observed, Error> {
        with(observe).await
    }

    async fn apply(&self, change: &Change) -> Result<(), Error> {
        with(|handle| change::apply(handle, change)).await
    }
}

/// Runs `work` with a connection that is polled beside it.
pub(super) async fn with<T, F>(work: impl FnOnce(Handle) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let (connection, handle, unasked) = rtnetlink::new_connection().map_err(Error::Socket)?;
    // No group is joined, so nothing comes unasked.
    drop(unasked);
    match select(pin!(work(handle)), pin!(connection)).await {
        Either::Left((result, _)) => result,
        Either::Right(((), work)) => work.await,
    }
}

async fn observe(handle: Handle) -> Result<Observed, Error> {
    let failed = |what| move |source| Error::List { what, source };
    let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await.map_err(failed("links"))?;
    let names = dump::names(&links);
    let addresses = handle.address().get().execute().try_collect::<Vec<_>>().await.map_err(failed("addresses"))?;
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        let mut stream = pin!(handle.route().get(wanted).execute());
        // One by one: a machine with a full table has a million, and most of them are not kept.
        while let Some(message) = stream.next().await {
            dump::routes(&message.map_err(failed("routes"))?, &names, &mut routes);
        }
    }
    Ok(Observed {
        links: links.iter().map(|message| dump::link(message, &names)).collect(),
        addresses: addresses.iter().filter_map(|message| dump::address(message, &names)).collect(),
        routes,
    })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::{can_make, in_namespace};
