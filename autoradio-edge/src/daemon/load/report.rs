//! Makes the report of a node's load from what was counted. Pure.

use std::collections::{BTreeMap, VecDeque};

use autoradio_common::limits::{
    LOAD_CONTENT_TYPE_BYTES_MAX, LOAD_MOUNTS_MAX, LOAD_SECTION_BYTES_MAX,
};
use serde::Serialize;

use crate::cluster::{LoadRecord, MountPath, SourceRecord};

/// Time over which bits are averaged, in milliseconds: streams come in bursts.
const WINDOW_MS: u64 = 5_000;

/// Turns readings of a byte counter into bits per second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// When, and how many bytes by then; the oldest is the youngest that is [`WINDOW_MS`] old.
    readings: VecDeque<(u64, u64)>,
}

impl Rate {
    /// Takes a reading at `now_ms`; bits per second over the last seconds, 0 until there are two readings.
    pub(super) fn read(&mut self, now_ms: u64, bytes: u64) -> u64 {
        // A counter that goes back began anew: its interface was made again.
        if self.readings.back().is_some_and(|(_, before)| bytes < *before) {
            self.readings.clear();
        }
        self.readings.push_back((now_ms, bytes));
        while self.readings.get(1).is_some_and(|(at_ms, _)| at_ms + WINDOW_MS <= now_ms) {
            self.readings.pop_front();
        }
        let Some((since_ms, before)) = self.readings.front() else { return 0 };
        let bits = u128::from(bytes - before) * 8 * 1_000;
        let elapsed_ms = u128::from(now_ms.saturating_sub(*since_ms));
        bits.checked_div(elapsed_ms).map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

/// What was counted at one moment.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) bits_per_second: u64,
    pub(super) mounts: Vec<(MountPath, u64)>,
    pub(super) sources: Vec<(MountPath, SourceRecord)>,
    pub(super) unique: Vec<(MountPath, u64)>,
    pub(super) peaks: Vec<(MountPath, u64)>,
}

impl Counted {
    /// The report. What does not fit one record is left out: the mounts with the fewest listeners, the youngest sources.
    pub(super) fn report(mut self, sequence: u64) -> LoadRecord {
        let listeners = self.mounts.iter().map(|(_, listeners)| listeners).sum();
        self.mounts.retain(|(_, listeners)| *listeners > 0);
        self.mounts.sort_by(|(path, count), (other_path, other)| {
            other.cmp(count).then_with(|| path.cmp(other_path))
        });
        for (_, source) in &mut self.sources {
            while source.content_type.len() > LOAD_CONTENT_TYPE_BYTES_MAX {
                source.content_type.pop();
            }
        }
        self.sources.sort_by(|(path, source), (other_path, other)| {
            source.since_unix_s.cmp(&other.since_unix_s).then_with(|| path.cmp(other_path))
        });
        LoadRecord {
            sequence,
            listeners,
            bits_per_second: self.bits_per_second,
            mounts: fitting(self.mounts),
            sources: fitting(self.sources),
            unique: fitting(self.unique),
            peaks: fitting(self.peaks),
            ..LoadRecord::idle()
        }
    }
}

/// The first entries that fit a section of the record.
fn fitting<Value: Serialize>(entries: Vec<(MountPath, Value)>) -> BTreeMap<MountPath, Value> {
    let mut bytes = 0;
    let fits = |(path, value): &(MountPath, Value)| {
        // Key, colon, value, comma.
        bytes += json_bytes(path) + json_bytes(value) + 2;
        bytes <= LOAD_SECTION_BYTES_MAX
    };
    entries.into_iter().take(LOAD_MOUNTS_MAX).take_while(fits).collect()
}

/// Length as JSON; what cannot be written takes all the room there is, so that it is left out.
fn json_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(LOAD_SECTION_BYTES_MAX, |json| json.len())
}

#[cfg(test)]
mod tests {
    use autoradio_common::limits::{MOUNT_PATH_BYTES_MAX, RECORD_BYTES_MAX};

    use super::*;

    fn path(text: &str) -> MountPath {
        text.parse().expect("a mount path")
    }

    fn source(since_unix_s: u64, content_type: &str) -> SourceRecord {
        SourceRecord { since_unix_s, content_type: content_type.to_owned() }
    }

    #[test]
    fn bits_are_averaged_over_the_last_seconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.read(0, 1_000), 0, "one reading says nothing");
        assert_eq!(rate.read(1_000, 2_000), 8_000);
        assert_eq!(rate.read(2_000, 2_000), 4_000, "a pause");
        for second in 3..=7 {
            rate.read(second * 1_000, 2_000);
        }
        assert_eq!(rate.read(8_000, 2_000), 0, "what was sent long ago does not count");
        assert_eq!(rate.read(9_000, 100), 0, "the counter began anew");
        assert_eq!(rate.read(9_000, 200), 0, "no time has passed");
        assert_eq!(rate.read(10_000, 350), 2_000);
    }

    #[test]
    fn a_report_tells_all_listeners_and_where_they_are() {
        let counted = Counted {
            bits_per_second: 7,
            mounts: vec![(path("/a"), 3), (path("/idle"), 0), (path("/b"), 4)],
            sources: vec![(path("/a"), source(9, "audio/ogg"))],
            unique: vec![(path("/b"), 2)],
            peaks: vec![(path("/a"), 12)],
        };
        let report = counted.report(5);
        assert_eq!((report.sequence, report.listeners, report.bits_per_second), (5, 7, 7));
        assert_eq!(report.mounts, [(path("/a"), 3), (path("/b"), 4)].into());
        assert_eq!(report.sources, [(path("/a"), source(9, "audio/ogg"))].into());
        assert_eq!(report.unique, [(path("/b"), 2)].into());
        assert_eq!(report.peaks, [(path("/a"), 12)].into());
    }

    #[test]
    fn a_report_fits_its_record_whatever_mounts_are_called_and_keeps_the_largest() {
        let long = |number: usize| {
            // A quote takes two bytes of JSON.
            let quotes = "\"".repeat(MOUNT_PATH_BYTES_MAX - 6);
            path(&format!("/{number:05}{quotes}"))
        };
        let counted = Counted {
            bits_per_second: u64::MAX,
            mounts: (0..1_000).map(|number| (long(number), number as u64)).collect(),
            unique: (0..1_000).map(|number| (long(number), u64::MAX)).collect(),
            peaks: (0..1_000).map(|number| (long(number), u64::MAX)).collect(),
            sources: (0..1_000_u64)
                .map(|number| (long(number as usize), source(number, &"\"é".repeat(100))))
                .collect(),
        };
        let report = counted.report(u64::MAX);
        let json = serde_json::to_vec(&report).expect("JSON");
        assert!(json.len() <= RECORD_BYTES_MAX, "{} bytes", json.len());
        assert!(json.len() > RECORD_BYTES_MAX * 9 / 10, "{} bytes: room is wasted", json.len());
        assert_eq!(report.listeners, 999 * 1_000 / 2, "all count, named or not");
        assert!(report.mounts.contains_key(&long(999)) && !report.mounts.contains_key(&long(0)));
        assert!(report.sources.contains_key(&long(0)) && !report.sources.contains_key(&long(999)));
    }

    #[test]
    fn short_names_are_limited_by_number() {
        let mounts = (0..1_000).map(|number| (path(&format!("/{number}")), 1)).collect();
        let report = Counted { mounts, ..Counted::default() }.report(1);
        assert_eq!(report.mounts.len(), LOAD_MOUNTS_MAX);
        assert_eq!(report.listeners, 1_000);
    }
}
