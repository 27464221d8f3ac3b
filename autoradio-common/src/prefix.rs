//! The network a client counts as: its /24 or its /56, as one number.
//!
//! Clients within one such network are usually one resolver farm or one household. Rate limits are kept per prefix, and a
//! sticky draw gives everybody in it the same answer.

/// Marks IPv4: no IPv6 prefix reaches this bit.
const V4: u64 = 1 << 56;

/// The prefix of an IPv4 client, its /24.
#[inline(always)]
pub const fn of_v4(address: [u8; 4]) -> u64 {
    V4 | (u32::from_be_bytes(address) >> 8) as u64
}

/// The prefix of an IPv6 client, its /56, from the first eight bytes of its address.
#[inline(always)]
pub const fn of_v6(high: [u8; 8]) -> u64 {
    u64::from_be_bytes(high) >> 8
}

/// The step of `SplitMix64`.
pub const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The slot that a prefix always draws, on every node of the cluster: 0..=255.
///
/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014), whose every output bit depends on every input bit.
#[inline(always)]
pub const fn sticky_draw(prefix: u64) -> u8 {
    let mut mixed = prefix.wrapping_add(GOLDEN_GAMMA);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_network_have_one_prefix_and_families_never_meet() {
        assert_eq!(of_v4([192, 0, 2, 1]), of_v4([192, 0, 2, 255]));
        assert_ne!(of_v4([192, 0, 2, 1]), of_v4([192, 0, 3, 1]));
        let v6 = [0x20, 0x01, 0x0d, 0xb8, 0, 1, 2, 3];
        assert_eq!(of_v6(v6), of_v6([0x20, 0x01, 0x0d, 0xb8, 0, 1, 2, 0xff]));
        assert_ne!(of_v6(v6), of_v6([0x20, 0x01, 0x0d, 0xb8, 0, 1, 3, 3]));
        assert!(of_v6([0xff; 8]) < of_v4([0; 4]));
    }

    #[test]
    fn neighbouring_networks_draw_all_slots_evenly() {
        let mut drawn = [0u32; 256];
        for network in 0..65_536u32 {
            let [_, _, high, low] = network.to_be_bytes();
            drawn[usize::from(sticky_draw(of_v4([10, high, low, 0])))] += 1;
        }
        // 256 are expected of each; six standard deviations are 96.
        assert!(drawn.iter().all(|count| (160..352).contains(count)), "{drawn:?}");
    }
}
