//! Connections per client address: so that one client does not take the places of all others. Pure.
//!
//! Clients with IPv6 have whole networks of addresses, so there the first 64 bits count. Whoever comes from this machine is not
//! counted: proxies on it bring everybody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The addresses that are connected, and how often.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Connections that one may have; 0: any number.
    connections_max: u32,
    connections: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection of an address, counted while this lives.
#[derive(Debug)]
pub(super) struct Counted {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    pub(super) fn new(connections_max: u32) -> Arc<Self> {
        Arc::new(Self { connections_max, connections: Mutex::default() })
    }

    /// Counts one more connection from an address, unless it has all that it may have. `Ok(None)`: it needs no count.
    pub(super) fn count(self: &Arc<Self>, address: IpAddr) -> Result<Option<Counted>, TooMany> {
        let address = network(address.to_canonical());
        if self.connections_max == 0 || address.is_loopback() {
            return Ok(None);
        }
        let mut connections = self.connections();
        let count = connections.entry(address).or_default();
        if *count >= self.connections_max {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(Counted { addresses: self.clone(), address }))
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        // No panic can leave the map half-written.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address has all the connections that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self.addresses.connections();
        let count = connections.get_mut(&self.address).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if count == 0 {
            connections.remove(&self.address);
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more_until_one_ends() {
        let addresses = Addresses::new(2);
        let mut held = Vec::new();
        for (why, address, granted) in [
            ("the first", "192.0.2.1", true),
            ("the same, as IPv6 sockets tell it", "::ffff:192.0.2.1", true),
            ("one too many", "192.0.2.1", false),
            ("another", "192.0.2.2", true),
            ("one of a network", "2001:db8::1", true),
            ("another of it", "2001:db8::2", true),
            ("one too many of it", "2001:db8::3", false),
            ("the next network", "2001:db8:0:1::3", true),
        ] {
            let counted = addresses.count(ip(address));
            assert_eq!(counted.is_ok(), granted, "{why}");
            held.extend(counted.ok().flatten());
        }
        held.remove(0);
        assert!(addresses.count(ip("192.0.2.1")).is_ok());
        held.clear();
        assert!(addresses.connections().is_empty(), "who has gone is forgotten");
    }

    #[test]
    fn this_machine_is_not_counted_nor_anybody_without_a_limit() {
        let one = Addresses::new(1);
        for address in ["127.0.0.1", "127.0.0.1", "::1", "::1", "::ffff:127.0.0.1"] {
            assert!(matches!(one.count(ip(address)), Ok(None)), "{address}");
        }
        let any = Addresses::new(0);
        assert!(matches!(any.count(ip("192.0.2.1")), Ok(None)));
    }
}
