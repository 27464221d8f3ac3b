//! Judges who asks: the network a client counts as, and its rate.

use autoradio_common::prefix::{of_v4, of_v6};
use autoradio_common::rate::Rate;
use autoradio_common::settings::KernelSettings;

use crate::maps::{self, Scratch};
use crate::packet::Family;

/// The client's network.
#[inline(always)]
pub fn prefix(family: Family, scratch: &Scratch) -> u64 {
    let high = scratch.seen.client[0].to_le_bytes();
    match family {
        Family::V4 => of_v4([high[0], high[1], high[2], high[3]]),
        Family::V6 => of_v6(high),
    }
}

/// Takes one answer out of the bucket of the client's network.
#[inline(always)]
pub fn rate(family: Family, settings: &KernelSettings, now_ns: u64, scratch: &Scratch) -> Rate {
    let prefix = prefix(family, scratch);
    match maps::rate_set(prefix, settings.rate_secret) {
        Some(set) => set.take(prefix, &settings.rate, now_ns),
        None => Rate::Answer, // Never: the index is masked.
    }
}
