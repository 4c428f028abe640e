//! How many calls may be under way: in all, and from one address.
//!
//! Invariant: a call that follows a log or a watch holds some hundred KiB for a slow reader, so their number is what bounds
//! machined's memory against clients; a place is given back when the answer has ended. Used by `serve`.

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

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// On the whole machine.
    #[error("the machine's limit is {TOTAL}")]
    Total,
    /// For this client.
    #[error("the limit for one address is {EACH}")]
    Each,
}

/// Everything in the air.
#[derive(Clone, Debug, Default)]
pub struct Flights(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Flights {
    /// A place for one call.
    pub fn take(&self, address: IpAddr) -> Result<Flight, Full> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.values().sum::<usize>() >= TOTAL {
            return Err(Full::Total);
        }
        let address = client(address);
        let count = flights.entry(address).or_default();
        if *count >= EACH {
            return Err(Full::Each);
        }
        *count += 1;
        Ok(Flight { flights: self.clone(), address })
    }
}

/// One call's place.
#[derive(Debug)]
pub struct Flight {
    flights: Flights,
    address: IpAddr,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = flights.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                flights.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_room_for_others_and_places_come_back() {
        let flights = Flights::default();
        let address = |n| IpAddr::from([192, 0, 2, n]);
        let mut taken = Vec::new();
        for n in 0..3 {
            taken.extend((0..EACH).map_while(|_| flights.take(address(n)).ok()));
        }
        assert_eq!(taken.len(), TOTAL);
        assert_eq!(flights.take(address(9)).unwrap_err(), Full::Total);
        taken.pop();
        assert_eq!(flights.take(address(0)).unwrap_err(), Full::Each);
        drop(flights.take(address(9)).unwrap());
        taken.clear();
        assert!(flights.0.lock().unwrap().is_empty());
    }
}
