//! Shares the 256 slots of a name out in proportion to weights.

use autoradio_common::limits::SLOTS;

/// Slots for `weights`: slot → index of a weight, by the largest remainders (Hamilton's method).
///
/// Shape: 1 to 256 weights, not all zero. Each index gets its exact share of 256 rounded down or up; indices stand spread
/// over the slots in runs, which is all a uniform draw needs. A weight of zero gets no slot.
pub fn share_out(weights: &[u32]) -> Box<[u8; SLOTS]> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let exact = |weight: u32| u64::from(weight) * SLOTS as u64;
    let mut counts: Vec<usize> = weights.iter().map(|w| (exact(*w) / total) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|index| (std::cmp::Reverse(exact(weights[*index]) % total), *index));
    let missing = SLOTS - counts.iter().sum::<usize>();
    for index in by_remainder.into_iter().take(missing) {
        counts[index] += 1;
    }
    let mut slots = Box::new([0u8; SLOTS]);
    let owners =
        counts.iter().enumerate().flat_map(|(index, count)| std::iter::repeat_n(index, *count));
    for (slot, owner) in slots.iter_mut().zip(owners) {
        *slot = owner as u8;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(weights: &[u32]) -> Vec<usize> {
        let slots = share_out(weights);
        (0..weights.len())
            .map(|i| slots.iter().filter(|slot| usize::from(**slot) == i).count())
            .collect()
    }

    #[test]
    fn slots_follow_weights() {
        for (why, weights, want) in [
            ("one node takes all", vec![7], vec![256]),
            ("equal weights share equally", vec![5, 5], vec![128, 128]),
            ("the remainder goes to the first of equals", vec![1, 1, 1], vec![86, 85, 85]),
            ("zero takes none", vec![1000, 0, 1000], vec![128, 0, 128]),
        ] {
            assert_eq!(counts(&weights), want, "{why}");
        }
    }

    proptest! {
        #[test]
        fn every_share_is_exact_to_within_one_slot(weights in prop::collection::vec(0u32..5_000, 1..64)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (weight, count) in weights.iter().zip(counts(&weights)) {
                let exact = f64::from(*weight) * 256.0 / total;
                let count = f64::from(u16::try_from(count).expect("at most 256"));
                prop_assert!((count - exact).abs() < 1.0, "{weight} of {total}: {count}");
            }
        }
    }
}
