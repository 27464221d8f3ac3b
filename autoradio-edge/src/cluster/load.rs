//! When a node's load is worth telling. Pure.

use super::LoadRecord;

/// A change by more than one part in this many is told.
const CHANGE_SHARE: u64 = 100;

/// Whether `now` differs enough from what was `told` last: a figure by more than 1 % of the larger one, or any mount or
/// source that came, went or changed.
pub fn is_news(told: &LoadRecord, now: &LoadRecord) -> bool {
    let figures = [(told.listeners, now.listeners), (told.bits_per_second, now.bits_per_second)];
    figures.into_iter().any(differs)
        || told.sources != now.sources
        || !told.mounts.keys().eq(now.mounts.keys())
        || told.mounts.values().copied().zip(now.mounts.values().copied()).any(differs)
}

fn differs((a, b): (u64, u64)) -> bool {
    u128::from(a.abs_diff(b)) * u128::from(CHANGE_SHARE) > u128::from(a.max(b))
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

    #[test]
    fn only_a_change_above_one_percent_is_news() {
        for (why, told, now, want) in [
            ("nothing changed", load(5, 5, &[("/a", 5)]), load(5, 5, &[("/a", 5)]), false),
            ("one percent", load(99, 0, &[]), load(100, 0, &[]), false),
            ("a little more", load(98, 0, &[]), load(100, 0, &[]), true),
            ("fewer", load(100, 0, &[]), load(98, 0, &[]), true),
            ("the first listener", load(0, 0, &[]), load(1, 0, &[]), true),
            ("bits alone", load(1, 1_000, &[]), load(1, 1_011, &[]), true),
            (
                "they moved",
                load(4, 4, &[("/a", 1), ("/b", 3)]),
                load(4, 4, &[("/a", 3), ("/b", 1)]),
                true,
            ),
            (
                "a mount came",
                load(200, 4, &[("/a", 1)]),
                load(200, 4, &[("/a", 1), ("/b", 1)]),
                true,
            ),
            ("no overflow", load(u64::MAX, 0, &[]), load(u64::MAX, 0, &[]), false),
        ] {
            assert_eq!(is_news(&told, &now), want, "{why}");
        }
    }

    #[test]
    fn a_source_that_came_is_news_and_the_sequence_alone_is_not() {
        let told = load(7, 7, &[]);
        let later = LoadRecord { sequence: 9, ..told.clone() };
        assert!(!is_news(&told, &later));
        let source = SourceRecord { since_unix_s: 1, content_type: "audio/mpeg".to_owned() };
        let mut with_source = told.clone();
        with_source.sources.insert("/a".parse().unwrap(), source);
        assert!(is_news(&told, &with_source) && is_news(&with_source, &told));
    }
}
