//! How many calls may be under way: in all, and from one address.
//!
//! Invariant: a call that follows a log or a watch holds some hundred KiB for a slow reader, so their number is what bounds
//! machined's memory against clients; a place is given back when the answer has ended. The fewer places are left, the fewer
//! one address may have, and streams leave some to calls that answer once. Used by `serve`.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::gateway::seats::client;

/// In all: a reader of a log that takes nothing was measured to hold 150 KiB, so this is a third of machined's memory limit.
pub const TOTAL: usize = 256;

/// From one address: so that one client does not take all.
pub const EACH: usize = 96;

/// Places that no stream takes, so that a machine with too many followers can still be asked and rebooted.
pub const ONCE: usize = 16;

/// Of those, how many one address may have beside its streams.
const ONCE_EACH: usize = 4;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// On the whole machine.
    #[error("the machine's limit is {TOTAL}")]
    Total,
    /// For this client.
    #[error("the limit for one address is {0} while so many calls are under way")]
    Each(usize),
}

/// Everything in the air.
#[derive(Clone, Debug, Default)]
pub struct Flights(Arc<Mutex<HashMap<IpAddr, Count>>>);

/// What one address has.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    streams: usize,
    once: usize,
}

impl Count {
    fn of(&mut self, streams: bool) -> &mut usize {
        if streams { &mut self.streams } else { &mut self.once }
    }

    fn all(self) -> usize {
        self.streams + self.once
    }
}

impl Flights {
    /// A place for one call; `streams`: one that answers for as long as its client likes.
    pub fn take(&self, address: IpAddr, streams: bool) -> Result<Flight, Full> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = TOTAL - flights.values().map(|count| count.all()).sum::<usize>().min(TOTAL);
        let address = client(address);
        let count = flights.get(&address).copied().unwrap_or_default();
        let shared = free.saturating_sub(ONCE);
        // As many as are left for others: who has the most is refused first.
        let limit = EACH.min(shared);
        let fits = shared > 0 && count.all() < limit;
        if !fits && (streams || free == 0 || count.once >= ONCE_EACH) {
            return Err(if count.all() == 0 { Full::Total } else { Full::Each(limit) });
        }
        *flights.entry(address).or_default().of(streams) += 1;
        Ok(Flight { flights: self.clone(), address, streams })
    }
}

/// One call's place.
#[derive(Debug)]
pub struct Flight {
    flights: Flights,
    address: IpAddr,
    streams: bool,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = flights.get_mut(&self.address) {
            *count.of(self.streams) -= 1;
            if count.all() == 0 {
                flights.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn one_client_leaves_room_for_others_and_places_come_back() {
        let flights = Flights::default();
        let mut taken = Vec::new();
        for n in 0..3 {
            taken.extend((0..EACH).map_while(|_| flights.take(address(n), true).ok()));
        }
        assert!(matches!(flights.take(address(0), true).unwrap_err(), Full::Each(_)));
        taken.push(flights.take(address(9), true).expect("three addresses do not take all"));
        taken.clear();
        assert!(flights.0.lock().unwrap().is_empty());
        taken.extend((0..EACH).map(|_| flights.take(address(0), true).unwrap()));
    }

    #[test]
    fn streams_of_many_addresses_leave_room_to_reboot() {
        let flights = Flights::default();
        let mut taken = Vec::new();
        for n in 0..=255 {
            taken.extend((0..EACH).map_while(|_| flights.take(address(n), true).ok()));
        }
        assert_eq!(flights.take(IpAddr::from([198, 51, 100, 1]), true).unwrap_err(), Full::Total);
        assert_eq!(taken.len(), TOTAL - ONCE);
        // Also for who has streams already, though not all that is left.
        taken.extend((0..ONCE).map_while(|_| flights.take(address(0), false).ok()));
        assert_eq!(taken.len(), TOTAL - ONCE + ONCE_EACH);
        flights.take(IpAddr::from([198, 51, 100, 1]), false).expect("a reboot");
    }
}
