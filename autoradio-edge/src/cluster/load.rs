//! When a node's load is worth telling. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Capacity, LoadRecord, MountPath};

/// A change by more than one part in this many is told.
const CHANGE_SHARE: u64 = 100;
/// Paces before listeners that merely went from one mount to another, or are few beside the node's capacity, are told.
const COUNTS_PACES: u32 = 5;
/// Nodes that may report in one heartbeat: every report goes to every node, and each is written to disk by etcd.
const REPORTS_PER_HEARTBEAT: usize = 125;

/// Least time between two reports of one node in a cluster of so many `nodes`.
pub(super) fn pace(heartbeat: Duration, nodes: usize) -> Duration {
    // At most a thousand nodes.
    heartbeat * (nodes / REPORTS_PER_HEARTBEAT).max(1) as u32
}

/// Whether the load `now` of a node with that `capacity` is worth another report than `told`, sooner or later.
pub fn is_news(told: &LoadRecord, now: &LoadRecord, capacity: Capacity) -> bool {
    paces_to_wait(told, now, capacity).is_some()
}

/// After how many paces since the report of `told` the load `now` is worth another; `None` if it says the same.
///
/// At once: listeners or bits that changed by more than 1 % of what the node may carry (bits of a stream vary with every
/// second), any mount or source that came, went or changed. Later: other listeners of a mount, different ones or most ever, by more than 1 %
/// of them.
pub(super) fn paces_to_wait(
    told: &LoadRecord,
    now: &LoadRecord,
    capacity: Capacity,
) -> Option<u32> {
    let listeners = differs(told.listeners, now.listeners, capacity.listeners.into());
    let bits = differs(told.bits_per_second, now.bits_per_second, capacity.bits_per_second);
    let mounts = !told.mounts.keys().eq(now.mounts.keys());
    if listeners || bits || mounts || told.sources != now.sources {
        return Some(1);
    }
    let maps =
        [(&told.mounts, &now.mounts), (&told.unique, &now.unique), (&told.peaks, &now.peaks)];
    let counts_differ = maps.iter().any(|(told, now)| counts_differ(told, now));
    let all_differ = differs(told.listeners, now.listeners, told.listeners.max(now.listeners));
    (counts_differ || all_differ).then_some(COUNTS_PACES)
}

/// Whether any figure of two tables differs.
fn counts_differ(told: &BTreeMap<MountPath, u64>, now: &BTreeMap<MountPath, u64>) -> bool {
    let mut counts = told.values().zip(now.values());
    !told.keys().eq(now.keys()) || counts.any(|(told, now)| differs(*told, *now, *told.max(now)))
}

/// Whether two figures differ by more than 1 % of `whole`.
fn differs(a: u64, b: u64, whole: u64) -> bool {
    u128::from(a.abs_diff(b)) * u128::from(CHANGE_SHARE) > u128::from(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::SourceRecord;

    fn load(listeners: u64, bits_per_second: u64, mounts: &[(&str, u64)]) -> LoadRecord {
        let mount = |(path, count): &(&str, u64)| (path.parse().unwrap(), *count);
        let mounts = mounts.iter().map(mount).collect();
        LoadRecord { listeners, bits_per_second, mounts, ..LoadRecord::idle() }
    }

    /// 1 000 listeners, 1 Gbit/s.
    fn paces(told: &LoadRecord, now: &LoadRecord) -> Option<u32> {
        paces_to_wait(told, now, Capacity::default())
    }

    #[test]
    fn a_large_cluster_reports_in_turns() {
        let paces = [1, 3, 249, 250, 1_000].map(|nodes| pace(Duration::from_secs(1), nodes));
        assert_eq!(paces.map(|pace| pace.as_secs()), [1, 1, 1, 2, 8]);
    }

    #[test]
    fn only_a_change_above_one_percent_is_news() {
        for (why, told, now, want) in [
            ("nothing changed", load(5, 5, &[("/a", 5)]), load(5, 5, &[("/a", 5)]), None),
            ("one percent", load(990, 0, &[]), load(1_000, 0, &[]), None),
            ("a little more", load(989, 0, &[]), load(1_000, 0, &[]), Some(1)),
            ("fewer", load(500, 0, &[]), load(489, 0, &[]), Some(1)),
            ("the first listener", load(0, 0, &[]), load(1, 0, &[("/a", 1)]), Some(1)),
            ("the second", load(1, 0, &[("/a", 1)]), load(2, 0, &[("/a", 2)]), Some(5)),
            ("few of many", load(500, 0, &[]), load(505, 0, &[]), None),
            ("bits as they vary", load(1, 3_000_000, &[]), load(1, 9_000_000, &[]), None),
            ("bits alone", load(1, 1_000_000, &[]), load(1, 11_000_001, &[]), Some(1)),
            (
                "they moved",
                load(4, 4, &[("/a", 1), ("/b", 3)]),
                load(4, 4, &[("/a", 3), ("/b", 1)]),
                Some(5),
            ),
            (
                "a mount came",
                load(200, 4, &[("/a", 1)]),
                load(200, 4, &[("/a", 1), ("/b", 1)]),
                Some(1),
            ),
            ("no overflow", load(u64::MAX, 0, &[]), load(0, 0, &[]), Some(1)),
        ] {
            assert_eq!(paces(&told, &now), want, "{why}");
        }
    }

    #[test]
    fn different_listeners_and_the_most_ever_are_told_later() {
        let told = load(7, 7, &[("/a", 7)]);
        let count = |count| [("/a".parse().unwrap(), count)].into();
        let unique = LoadRecord { unique: count(5), ..told.clone() };
        let peak = LoadRecord { peaks: count(500), ..told.clone() };
        let almost = LoadRecord { peaks: count(504), ..told.clone() };
        for (why, told, now, want) in [
            ("one came twice", &told, &unique, Some(5)),
            ("a first peak", &told, &peak, Some(5)),
            ("a little higher", &peak, &almost, None),
        ] {
            assert_eq!(paces(told, now), want, "{why}");
        }
    }

    #[test]
    fn a_source_that_came_is_news_and_the_sequence_alone_is_not() {
        let told = load(7, 7, &[]);
        let later = LoadRecord { sequence: 9, ..told.clone() };
        assert_eq!(paces(&told, &later), None);
        let source = SourceRecord { since_unix_s: 1, content_type: "audio/mpeg".to_owned() };
        let mut with_source = told.clone();
        with_source.sources.insert("/a".parse().unwrap(), source);
        assert_eq!([paces(&told, &with_source), paces(&with_source, &told)], [Some(1); 2]);
    }
}
