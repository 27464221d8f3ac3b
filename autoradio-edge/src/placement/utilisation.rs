//! How much of a node is used and how much is free.
//!
//! Shares are parts per million of what a node may carry. That capacity has its reserve for the loss of a peer already
//! taken off, so a node at a million parts still has real room.

use crate::cluster::{Capacity, LoadRecord, Snapshot};

/// All that a node may carry, in parts per million.
pub(super) const WHOLE_PPM: u64 = 1_000_000;
/// What a listener is taken to cost while nobody knows better, in bits per second: an MP3 stream of common quality.
pub const BITS_PER_LISTENER_UNKNOWN: u64 = 128_000;
/// Listeners that a mean needs: bits of sources and relays would spoil that of fewer.
const LISTENERS_FOR_MEAN: u64 = 10;
/// No stream that people listen to is outside, in bits per second.
const BITS_PER_LISTENER: std::ops::RangeInclusive<u64> = 16_000..=4_000_000;

/// Listeners and bits that a node carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    listeners: u64,
    bits_per_second: u64,
}

impl Usage {
    /// The larger of both shares of `capacity`, in parts per million; over a million when there is more than fits.
    pub(super) fn share_of(self, capacity: &Capacity) -> u64 {
        let listeners = share(self.listeners, capacity.listeners.into());
        listeners.max(share(self.bits_per_second, capacity.bits_per_second))
    }
}

fn share(used: u64, whole: u64) -> u64 {
    let parts = u128::from(used) * u128::from(WHOLE_PPM) / u128::from(whole.max(1));
    u64::try_from(parts).unwrap_or(u64::MAX)
}

/// Measures nodes by what a listener costs in this cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    bits_per_listener: u64,
}

impl Meter {
    /// One for the loads that the cluster's nodes reported.
    pub(super) fn of<'a>(loads: impl Iterator<Item = &'a LoadRecord>) -> Self {
        let with_crowd = loads.filter(|load| load.listeners >= LISTENERS_FOR_MEAN);
        let (listeners, bits) = with_crowd.fold((0_u64, 0_u64), |(listeners, bits), load| {
            (listeners.saturating_add(load.listeners), bits.saturating_add(load.bits_per_second))
        });
        let bits_per_listener = mean(bits, listeners).unwrap_or(BITS_PER_LISTENER_UNKNOWN);
        Self { bits_per_listener }
    }

    /// One for a snapshot.
    pub(super) fn of_snapshot(snapshot: &Snapshot) -> Self {
        Self::of(snapshot.loads.values().map(AsRef::as_ref))
    }

    /// What a node carries: its report, and `assigned` listeners that the report does not know of.
    pub(super) fn usage(self, load: Option<&LoadRecord>, assigned: u64) -> Usage {
        let (listeners, bits) = load.map_or((0, 0), |load| (load.listeners, load.bits_per_second));
        let own_mean = (listeners >= LISTENERS_FOR_MEAN).then(|| mean(bits, listeners)).flatten();
        let each = own_mean.unwrap_or(self.bits_per_listener);
        Usage {
            listeners: listeners.saturating_add(assigned),
            bits_per_second: bits.saturating_add(assigned.saturating_mul(each)),
        }
    }

    /// How many of the cluster's mean listeners a capacity carries, 1 and up.
    pub(super) fn carries(self, capacity: &Capacity) -> u64 {
        let by_bits = capacity.bits_per_second / self.bits_per_listener;
        by_bits.min(capacity.listeners.into()).max(1)
    }

    /// How many more listeners fit where `used_ppm` of `capacity` is used; 0 if it is full, else 1 and up.
    pub(super) fn room(self, capacity: &Capacity, used_ppm: u64) -> u64 {
        let headroom = WHOLE_PPM.saturating_sub(used_ppm);
        let room = u128::from(self.carries(capacity)) * u128::from(headroom);
        let room = u64::try_from(room.div_ceil(u128::from(WHOLE_PPM))).unwrap_or(u64::MAX);
        if headroom == 0 { 0 } else { room.max(1) }
    }
}

fn mean(bits: u64, listeners: u64) -> Option<u64> {
    let mean = bits.checked_div(listeners)?;
    Some(mean.clamp(*BITS_PER_LISTENER.start(), *BITS_PER_LISTENER.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Capacity = Capacity { listeners: 1_000, bits_per_second: 100_000_000 };

    fn load(listeners: u64, bits_per_second: u64) -> LoadRecord {
        LoadRecord { listeners, bits_per_second, ..LoadRecord::idle() }
    }

    #[test]
    fn the_scarcer_of_listeners_and_bits_says_how_much_is_used() {
        let meter = Meter::of([].into_iter());
        for (why, load, assigned, want_ppm) in [
            ("nothing reported", None, 0, 0),
            ("listeners", Some(load(500, 1_000_000)), 0, 500_000),
            ("bits", Some(load(5, 75_000_000)), 0, 750_000),
            ("bits of the assigned, at 128 kbit/s each", None, 500, 640_000),
            (
                "bits of the assigned, at this node's own mean",
                Some(load(100, 2_000_000)),
                900,
                1_000_000,
            ),
            ("more than fits", Some(load(2_000, 0)), 0, 2_000_000),
        ] {
            let used = meter.usage(load.as_ref(), assigned).share_of(&CAPACITY);
            assert_eq!(used, want_ppm, "{why}");
        }
    }

    #[test]
    fn a_listener_costs_the_clusters_mean_once_there_is_a_crowd_to_take_it_from() {
        let few = load(LISTENERS_FOR_MEAN - 1, 900_000_000);
        let crowd = load(100, 6_400_000);
        for (why, loads, want) in [
            ("nobody listens", vec![], BITS_PER_LISTENER_UNKNOWN),
            ("too few listen", vec![few.clone()], BITS_PER_LISTENER_UNKNOWN),
            ("a crowd tells", vec![few, crowd], 64_000),
            ("nothing plays to a crowd", vec![load(100, 0)], *BITS_PER_LISTENER.start()),
        ] {
            assert_eq!(Meter::of(loads.iter()).bits_per_listener, want, "{why}");
        }
    }

    #[test]
    fn a_node_has_room_until_all_of_its_capacity_is_used() {
        let meter = Meter::of([].into_iter());
        assert_eq!(meter.carries(&CAPACITY), 781, "the line carries fewer than the listener limit");
        for (used_ppm, want) in
            [(0, 781), (500_000, 391), (999_999, 1), (1_000_000, 0), (2_000_000, 0)]
        {
            assert_eq!(meter.room(&CAPACITY, used_ppm), want, "{used_ppm}");
        }
        let nothing = Capacity { listeners: 0, bits_per_second: 0 };
        assert_eq!(meter.usage(Some(&load(1, 0)), 0).share_of(&nothing), WHOLE_PPM);
    }
}
