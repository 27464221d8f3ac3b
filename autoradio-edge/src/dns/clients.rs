//! Who is connected by TCP, and who gives way when there is no more room. Pure: the servers bring the time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autoradio_common::limits::{DNS_TCP_CLIENTS_MAX, DNS_TCP_CLIENTS_PER_PREFIX_MAX};
use tokio_util::sync::CancellationToken;

use super::policy::client_prefix;

/// The clients of all listening addresses together.
///
/// Every newcomer gets a place. Where there is none, the client that has been silent longest gives way to it: of its own
/// prefix if that has as many as one may have, else of all. So however many idle clients there are, they shut nobody out.
#[derive(Debug, Default)]
pub struct TcpClients(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    number_next: u64,
    places: HashMap<u64, Held>,
    per_prefix: HashMap<u64, usize>,
}

#[derive(Debug)]
struct Held {
    prefix: u64,
    heard_ms: Arc<AtomicU64>,
    gone: CancellationToken,
}

/// One client's place, its own until it is dropped or has to give way.
#[derive(Debug)]
pub(super) struct Place {
    clients: Arc<TcpClients>,
    number: u64,
    heard_ms: Arc<AtomicU64>,
    /// Fires when the client has to give way.
    pub(super) gone: CancellationToken,
}

impl TcpClients {
    /// A place for a client that comes at `now_ms`, and whether another had to give way for it.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr, now_ms: u64) -> (Place, bool) {
        let prefix = client_prefix(client);
        let mut table = self.table();
        let crowded_out = table.make_room(prefix);
        let number = table.number_next;
        table.number_next += 1;
        let (heard_ms, gone) = (Arc::new(AtomicU64::new(now_ms)), CancellationToken::new());
        let held = Held { prefix, heard_ms: heard_ms.clone(), gone: gone.clone() };
        table.places.insert(number, held);
        *table.per_prefix.entry(prefix).or_default() += 1;
        (Place { clients: self.clone(), number, heard_ms, gone }, crowded_out)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Leaves room for one more of `prefix`; whether somebody had to give way.
    fn make_room(&mut self, prefix: u64) -> bool {
        let of_prefix = self.per_prefix.get(&prefix).copied().unwrap_or_default();
        let longest = if of_prefix >= DNS_TCP_CLIENTS_PER_PREFIX_MAX {
            self.longest_silent(|held| held.prefix == prefix)
        } else if self.places.len() >= DNS_TCP_CLIENTS_MAX {
            self.longest_silent(|_| true)
        } else {
            return false;
        };
        let Some(held) = longest.and_then(|number| self.leave(number)) else {
            return false;
        };
        held.gone.cancel();
        true
    }

    /// The oldest among equals.
    fn longest_silent(&self, of: impl Fn(&Held) -> bool) -> Option<u64> {
        let candidates = self.places.iter().filter(|(_, held)| of(held));
        let key = |number: &u64, held: &Held| (held.heard_ms.load(Ordering::Relaxed), *number);
        candidates.map(|(number, held)| key(number, held)).min().map(|(_, number)| number)
    }

    fn leave(&mut self, number: u64) -> Option<Held> {
        let held = self.places.remove(&number)?;
        if let Some(count) = self.per_prefix.get_mut(&held.prefix) {
            *count -= 1;
            if *count == 0 {
                self.per_prefix.remove(&held.prefix);
            }
        }
        Some(held)
    }
}

impl Place {
    /// Notes that the client has sent a whole message.
    pub(super) fn heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When it last did, or came.
    pub(super) fn heard_ms(&self) -> u64 {
        self.heard_ms.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clients.table().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(prefix: usize, host: u8) -> IpAddr {
        [127, (prefix >> 8) as u8, prefix as u8, host].into()
    }

    fn gone(places: &[Place]) -> Vec<usize> {
        let numbered = places.iter().enumerate();
        numbered.filter(|(_, place)| place.gone.is_cancelled()).map(|(index, _)| index).collect()
    }

    #[test]
    fn a_prefix_at_its_limit_loses_its_own_longest_silent_client() {
        let clients = Arc::new(TcpClients::default());
        let (stranger, _) = clients.enter(client(9, 1), 0);
        let full = 0..DNS_TCP_CLIENTS_PER_PREFIX_MAX;
        let places: Vec<_> =
            full.map(|host| clients.enter(client(1, host as u8), 1 + host as u64).0).collect();
        assert!(gone(&places).is_empty());
        places[0].heard(1_000);
        let (_last, crowded_out) = clients.enter(client(1, 200), 2_000);
        assert!(crowded_out);
        assert_eq!(gone(&places), [1]);
        assert!(!stranger.gone.is_cancelled(), "of another prefix, though silent for longer");
    }

    #[test]
    fn when_all_places_are_taken_the_longest_silent_of_all_gives_way() {
        let clients = Arc::new(TcpClients::default());
        let enter = |number: usize| clients.enter(client(number, 1), number as u64).0;
        let places: Vec<_> = (0..DNS_TCP_CLIENTS_MAX).map(enter).collect();
        assert!(gone(&places).is_empty());
        let (_late, crowded_out) = clients.enter(client(60_000, 1), 5_000);
        assert!(crowded_out);
        assert_eq!(gone(&places), [0]);
        assert_eq!(clients.table().places.len(), DNS_TCP_CLIENTS_MAX);
    }

    #[test]
    fn whoever_leaves_makes_room_and_leaves_nothing_behind() {
        let clients = Arc::new(TcpClients::default());
        for round in 0..3 {
            let full = 0..DNS_TCP_CLIENTS_PER_PREFIX_MAX;
            let enter = |host: usize| clients.enter(client(1, host as u8), round);
            let entered: Vec<_> = full.map(enter).collect();
            assert!(entered.iter().all(|(_, crowded_out)| !crowded_out));
        }
        let table = clients.table();
        assert!(table.places.is_empty() && table.per_prefix.is_empty());
    }
}
