//! Which place each name has in the kernel's table of names. Pure. The rule is told in [`autoradio_common::names`].

use autoradio_common::limits::KERNEL_NAME_PROBES_MAX;
use autoradio_common::names::{EMPTY, NAME_PLACES, home, tag};

/// The places of names by their hashes, in the same order; `None` where a name finds none, because too many have nearby
/// homes, or one of these has its tag.
///
/// Names stand in the order of their hashes, each at the first free place from its home on. Of all ways to probe one place
/// after the other that keeps the longest way shortest (Robin Hood hashing: Celis, Larson, Munro 1985), and where a name
/// comes or goes, others move only up to the next empty place. In a half-full table the way is longer than `w` for about
/// one name in `e^1.26w`, so 16 places are enough for all names of a full half but once in thousands of zones.
pub(super) fn places(hashes: &[u64]) -> Vec<Option<u32>> {
    let mut order: Vec<(u64, usize)> = hashes.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut places = vec![None; hashes.len()];
    let mut tags = vec![EMPTY; NAME_PLACES as usize];
    let mut free = 0;
    for (hash, index) in order {
        let (home, tag) = (home(hash), tag(hash));
        let place = free.max(home);
        let way = &tags[home as usize..place as usize];
        if way.len() < KERNEL_NAME_PROBES_MAX as usize && !way.contains(&tag) {
            tags[place as usize] = tag;
            places[index] = Some(place);
            free = place + 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use autoradio_common::limits::{KERNEL_NAME_HOMES, KERNEL_NAMES_MAX};
    use autoradio_common::zone::NameKey;
    use proptest::prelude::*;

    use super::*;

    /// The table that the kernel sees: hash and number of the name at each place.
    fn table(hashes: &[u64]) -> HashMap<u32, (u64, usize)> {
        let mut table = HashMap::new();
        for (index, place) in places(hashes).into_iter().enumerate() {
            let Some(place) = place else { continue };
            assert!(place < NAME_PLACES);
            assert_eq!(table.insert(place, (hashes[index], index)), None, "two names in a place");
        }
        table
    }

    /// Which name is compared in the end, as the program looks.
    fn look_up(table: &HashMap<u32, (u64, usize)>, hash: u64) -> Option<usize> {
        for place in home(hash)..home(hash) + KERNEL_NAME_PROBES_MAX {
            let (found, index) = table.get(&place)?;
            if tag(*found) == tag(hash) {
                return Some(*index);
            }
        }
        None
    }

    const HOME_SHIFT: u32 = u64::BITS - KERNEL_NAME_HOMES.ilog2();

    /// Hashes whose homes and tags meet often.
    fn crowded() -> impl Strategy<Value = u64> {
        let homes = u64::from(KERNEL_NAME_HOMES);
        (prop_oneof![0..6u64, homes - 3..homes], 0..40u64)
            .prop_map(|(home, low)| home << HOME_SHIFT | low)
    }

    /// Hashes whose homes alone meet.
    fn spread() -> impl Strategy<Value = u64> {
        (0..64u64, any::<u32>()).prop_map(|(home, low)| home << HOME_SHIFT | u64::from(low))
    }

    proptest! {
        #[test]
        fn every_name_with_a_place_is_found_and_no_other_through_any_churn(
            zones in prop::collection::vec(prop::collection::vec(crowded(), 0..60), 1..4),
            strangers in prop::collection::vec(crowded(), 20),
        ) {
            for hashes in &zones {
                let (table, placed) = (table(hashes), places(hashes));
                for (index, hash) in hashes.iter().enumerate() {
                    let found = look_up(&table, *hash);
                    prop_assert_eq!(found == Some(index), placed[index].is_some());
                }
                for stranger in &strangers {
                    // Its tag may be another's: then the names are compared, and differ.
                    let found = look_up(&table, *stranger);
                    prop_assert!(found.is_none_or(|index| tag(hashes[index]) == tag(*stranger)));
                }
            }
        }

        #[test]
        fn a_name_that_comes_or_goes_moves_others_only_up_to_the_next_empty_place(
            hashes in prop::collection::vec(spread(), 1..60),
        ) {
            prop_assume!(places(&hashes).iter().all(Option::is_some));
            let (mut with, mut without) = (table(&hashes), table(&hashes[1..]));
            let first = home(hashes[0]);
            let end = (first..NAME_PLACES).find(|place| !with.contains_key(place)).expect("an end");
            for table in [&mut with, &mut without] {
                table.retain(|place, _| !(first..end).contains(place));
            }
            let hashes_of = |table: &HashMap<u32, (u64, usize)>| -> HashMap<u32, u64> {
                table.iter().map(|(place, (hash, _))| (*place, *hash)).collect()
            };
            prop_assert_eq!(hashes_of(&with), hashes_of(&without));
        }
    }

    #[test]
    fn names_as_clusters_have_them_all_find_a_place_at_the_limit() {
        for domain in ["radio.example.com", "a-rather-long-name.of-a.radio.example.org"] {
            let source = crate::dns::WireName::parse(domain).expect("a name").child("source");
            for pattern in ["mount", "x"] {
                let name = |n| source.child(&format!("{pattern}{n}"));
                let key = |n| NameKey::new(name(n).as_bytes()).expect("short").hash();
                let hashes: Vec<_> = (0..KERNEL_NAMES_MAX).map(key).collect();
                let placed = places(&hashes);
                assert!(placed.iter().all(Option::is_some), "{pattern} {domain}");
            }
        }
    }

    #[test]
    fn one_of_two_names_with_one_tag_near_each_other_has_no_place() {
        for (why, hashes, want) in [
            ("one hash", vec![6, 6], vec![Some(0), None]),
            ("one tag at one home", vec![6, 7], vec![Some(0), None]),
            ("far enough", vec![6, 1 << HOME_SHIFT | 6], vec![Some(0), Some(1)]),
            ("pushed past it", vec![2, 6, 1 << HOME_SHIFT | 6], vec![Some(0), Some(1), None]),
        ] {
            assert_eq!(places(&hashes), want, "{why}");
        }
        let probes = KERNEL_NAME_PROBES_MAX as usize;
        let neighbours: Vec<_> = (0..=probes as u64).map(|number| 2 * number).collect();
        let placed = places(&neighbours);
        assert_eq!(placed.iter().flatten().count(), probes, "too many at one home");
        assert_eq!(placed[probes], None);
    }
}
