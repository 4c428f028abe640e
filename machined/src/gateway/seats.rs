//! How many connections there may be: in all, and from one address, while they shake hands and after.
//!
//! Invariant: a seat is given back when it is dropped, whatever happened to its connection; the table holds only
//! addresses that have seats, so its size is bounded by the number of connections. Places for handshakes are never full: the
//! oldest handshake of the client that has the most gives way. Used by `listen`.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
    time::Duration,
};

use tokio::sync::Notify;

/// The limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub total: usize,
    /// Connections from one address (of IPv6: one /64, which is what one machine is given).
    pub each: usize,
    /// Handshakes at once; one more takes the place of another.
    pub handshakes: usize,
    /// Of those, how many one address may have: less than all, so that it cannot take every place.
    pub shaking: usize,
    /// How long the handshake and the first byte after it may take.
    pub handshake: Duration,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The whole gateway is full.
    #[error("{0} connections are open, which is the limit")]
    Total(usize),
    /// This client is.
    #[error("it has {0} connections, which is the limit for one address")]
    Each(usize),
    /// This client is shaking too many hands.
    #[error("it has {0} unfinished handshakes, which is the limit for one address")]
    Shaking(usize),
}

#[derive(Debug, Default)]
struct Guests {
    seated: usize,
    /// Those in the handshake, the oldest first.
    shaking: VecDeque<Rc<Notify>>,
}

#[derive(Debug, Default)]
struct Room {
    seated: usize,
    shaking: usize,
    guests: HashMap<IpAddr, Guests>,
}

impl Room {
    /// Ends the oldest handshake of the client that has the most.
    fn evict(&mut self) {
        let fullest = self.guests.values_mut().max_by_key(|guest| guest.shaking.len());
        if let Some(oldest) = fullest.and_then(|guest| guest.shaking.pop_front()) {
            self.shaking -= 1;
            oldest.notify_one();
        }
    }
}

/// Who sits here.
#[derive(Clone, Debug)]
pub struct Seats {
    limits: Limits,
    taken: Rc<RefCell<Room>>,
}

impl Seats {
    /// All free.
    pub fn new(limits: Limits) -> Self {
        Self { limits, taken: Rc::default() }
    }

    /// A seat for a connection from `address` that begins its handshake.
    pub fn take(&self, address: IpAddr) -> Result<Seat, Full> {
        let key = client(address);
        let mut room = self.taken.borrow_mut();
        if room.seated >= self.limits.total {
            return Err(Full::Total(room.seated));
        }
        if let Some(guest) = room.guests.get(&key) {
            if guest.seated >= self.limits.each {
                return Err(Full::Each(guest.seated));
            }
            if guest.shaking.len() >= self.limits.shaking {
                return Err(Full::Shaking(guest.shaking.len()));
            }
        }
        if room.shaking >= self.limits.handshakes {
            room.evict();
        }
        room.seated += 1;
        room.shaking += 1;
        let shaking = Rc::new(Notify::new());
        let guest = room.guests.entry(key).or_default();
        guest.seated += 1;
        guest.shaking.push_back(shaking.clone());
        Ok(Seat { seats: self.clone(), key, shaking })
    }

    /// Connections in all.
    pub fn total(&self) -> usize {
        self.taken.borrow().seated
    }
}

/// One connection's place.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    key: IpAddr,
    shaking: Rc<Notify>,
}

impl Seat {
    /// The handshake is done.
    pub fn settle(&mut self) {
        let mut room = self.seats.taken.borrow_mut();
        let Some(guest) = room.guests.get_mut(&self.key) else { return };
        if let Some(at) = guest.shaking.iter().position(|other| Rc::ptr_eq(other, &self.shaking)) {
            guest.shaking.remove(at);
            room.shaking -= 1;
        }
    }

    /// Waits until the handshake has to give way to another one. Cancel-safe.
    pub async fn evicted(&self) {
        self.shaking.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.settle();
        let mut room = self.seats.taken.borrow_mut();
        room.seated -= 1;
        let guests = &mut room.guests;
        if let Some(guest) = guests.get_mut(&self.key) {
            guest.seated -= 1;
            if guest.seated == 0 {
                guests.remove(&self.key);
                // A crowd that has left takes its memory along.
                if guests.capacity() > 64 && guests.len() * 4 < guests.capacity() {
                    guests.shrink_to_fit();
                }
            }
        }
    }
}

/// What counts as one client: an IPv4 address, an IPv6 prefix of 64 bits, a link-local address.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        // Link-local addresses all share one prefix: there, the whole address is the machine.
        IpAddr::V6(v6) if !v6.is_unicast_link_local() => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { total: 4, each: 3, handshakes: 4, shaking: 2, handshake: Duration::ZERO };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_all() {
        let seats = Seats::new(LIMITS);
        let mut first = seats.take(ip("192.0.2.1")).unwrap();
        let _second = seats.take(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(seats.take(ip("192.0.2.1")).unwrap_err(), Full::Shaking(2));
        first.settle();
        let _third = seats.take(ip("192.0.2.1")).unwrap();
        assert_eq!(seats.take(ip("192.0.2.1")).unwrap_err(), Full::Each(3));
        let _other = seats.take(ip("192.0.2.2")).unwrap();
        assert_eq!(seats.take(ip("192.0.2.3")).unwrap_err(), Full::Total(4));
    }

    #[test]
    fn seats_come_back_and_nothing_is_left() {
        let seats = Seats::new(LIMITS);
        for n in 0..1000u16 {
            let mut seat = seats.take(Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 1).into()).unwrap();
            if n % 2 == 0 {
                seat.settle();
            }
        }
        assert_eq!(seats.total(), 0);
        let room = seats.taken.borrow();
        assert!(room.guests.is_empty() && room.shaking == 0);
    }

    #[tokio::test]
    async fn the_oldest_handshake_of_the_fullest_client_gives_way() {
        let seats = Seats::new(Limits { total: 100, handshakes: 3, ..LIMITS });
        let lone = seats.take(ip("192.0.2.1")).unwrap();
        let oldest = seats.take(ip("192.0.2.2")).unwrap();
        let younger = seats.take(ip("192.0.2.2")).unwrap();
        let mut new = seats.take(ip("192.0.2.3")).unwrap();
        oldest.evicted().await;
        for stays in [&lone, &younger, &new] {
            assert!(tokio::time::timeout(Duration::ZERO, stays.evicted()).await.is_err());
        }
        drop(oldest);
        new.settle();
        assert_eq!(seats.taken.borrow().shaking, 2, "counted once");
        drop((lone, younger, new));
        assert_eq!((seats.total(), seats.taken.borrow().shaking), (0, 0));
    }

    #[test]
    fn a_whole_prefix_is_one_client_but_link_local_is_not() {
        let cases = [
            ("2001:db8::1", "2001:db8::2", true),
            ("fe80::1", "fe80::2", false),
            ("2001:db8::", "2001:db8:0:1::", false),
        ];
        for (a, b, same) in cases {
            assert_eq!(client(ip(a)) == client(ip(b)), same, "{a} {b}");
        }
    }
}
