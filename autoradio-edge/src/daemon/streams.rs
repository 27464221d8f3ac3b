//! Reads what this node's Icecast says of its streams, for the status that any node gives of the whole cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::{STREAM_FIELD_BYTES_MAX, STREAM_FIELDS_MAX, STREAMS_BYTES_MAX};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info};

use crate::clock;
use crate::cluster::{MountPath, NodeName, StreamRecord, StreamsRecord};
use crate::icecast::{IcecastDoor, SourceStats};
use crate::placement::Placement;

/// How often Icecast is asked while this node holds a mount.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// What Icecast counts, or what is another for the cluster than for one Icecast: told by other means, or by nobody.
const LEFT_OUT: [&str; 12] = [
    "connected",
    "listener_peak",
    "listeners",
    "listenurl",
    "max_listeners",
    "metadata_updated",
    "queue_size",
    "slow_listeners",
    "stream_start",
    "stream_start_iso8601",
    "total_bytes_read",
    "total_bytes_sent",
];

/// What keeps the record of this node's streams up to date.
pub(super) struct Watcher {
    pub(super) node: NodeName,
    pub(super) icecast: IcecastDoor,
    pub(super) placements: watch::Receiver<Arc<Placement>>,
    pub(super) streams: watch::Sender<Arc<StreamsRecord>>,
}

impl Watcher {
    /// Watches until cancelled. While Icecast does not say, what it said last stays.
    pub(super) async fn run(self) {
        let mut known = BTreeMap::new();
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let placement = self.placements.borrow().clone();
            let asked = if holds_any(&placement, &self.node) {
                self.icecast.sources().await
            } else {
                Ok(Vec::new())
            };
            match asked {
                Ok(sources) => {
                    let held = |(mount, _): &SourceStats| placement.is_master(&self.node, mount);
                    let sources = sources.into_iter().filter(held);
                    known = streams(sources, &known, clock::unix_s());
                    self.tell(fitting(&known));
                }
                Err(error) => debug!(%error, "the streams are told as they were"),
            }
        }
    }

    fn tell(&self, streams: BTreeMap<MountPath, StreamRecord>) {
        let record = StreamsRecord::new(streams);
        self.streams.send_if_modified(|before| {
            let changed = **before != record;
            if before.streams.len() != record.streams.len() {
                info!(streams = record.streams.len(), "the streams of this node have changed");
            }
            *before = Arc::new(record);
            changed
        });
    }
}

fn holds_any(placement: &Placement, node: &NodeName) -> bool {
    let mut masters = placement.mounts.values().filter_map(|placed| placed.master.as_ref());
    masters.any(|master| master.node == *node)
}

/// The streams of these sources. One that Icecast says began at the same time as what was `known` is the same.
fn streams(
    sources: impl Iterator<Item = SourceStats>,
    known: &BTreeMap<MountPath, (String, StreamRecord)>,
    now_unix_s: u64,
) -> BTreeMap<MountPath, (String, StreamRecord)> {
    let stream = |(mount, stats): SourceStats| {
        // Icecast tells it in words of its own clock: it serves to tell one stream from the next.
        let began = stats.iter().find(|(name, _)| name == "stream_start_iso8601");
        let began = began.map(|(_, began)| began.clone()).unwrap_or_default();
        let before = known.get(&mount).filter(|(known, _)| *known == began);
        let since_unix_s = before.map_or(now_unix_s, |(_, record)| record.since_unix_s);
        (mount, (began, StreamRecord { since_unix_s, fields: fields(stats) }))
    };
    sources.map(stream).collect()
}

/// What of Icecast's words is told to the cluster. A source may invent names (`ice-audio-info`), so they are looked at.
fn fields(stats: Vec<(String, String)>) -> BTreeMap<String, String> {
    let plain = |name: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        name.len() <= 32
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(letter)
    };
    let told = |(name, _): &(String, String)| plain(name) && !LEFT_OUT.contains(&name.as_str());
    let mut fields: BTreeMap<_, _> =
        stats.into_iter().filter(told).map(|(name, value)| (name, plain_text(value))).collect();
    while fields.len() > STREAM_FIELDS_MAX {
        fields.pop_last();
    }
    fields
}

/// A value as its source meant it, at its longest. Icecast takes what describes an MP3 or AAC stream for Latin-1, while most
/// sources send UTF-8: what is Latin-1 all over and valid UTF-8 at the same time was that.
fn plain_text(value: String) -> String {
    let latin: Option<Vec<u8>> = value.chars().map(|it| u8::try_from(it).ok()).collect();
    let mut text = match latin.map(String::from_utf8) {
        Some(Ok(text)) => text,
        _ => value,
    };
    while text.len() > STREAM_FIELD_BYTES_MAX {
        text.pop();
    }
    text
}

/// As many as fit one record, the oldest first.
fn fitting(
    known: &BTreeMap<MountPath, (String, StreamRecord)>,
) -> BTreeMap<MountPath, StreamRecord> {
    let mut streams: Vec<_> = known.iter().map(|(mount, (_, record))| (mount, record)).collect();
    streams.sort_by_key(|(mount, record)| (record.since_unix_s, *mount));
    let mut bytes = 0;
    let fits = |entry: &(&MountPath, &StreamRecord)| {
        bytes += serde_json::to_vec(entry).map_or(STREAMS_BYTES_MAX, |json| json.len());
        bytes <= STREAMS_BYTES_MAX
    };
    streams
        .into_iter()
        .take_while(fits)
        .map(|(mount, record)| (mount.clone(), record.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn mount(path: &str) -> MountPath {
        path.parse().expect("a mount path")
    }

    #[test]
    fn what_describes_a_stream_is_told_and_what_one_icecast_counts_is_not() {
        let told = fields(stats(&[
            ("bitrate", "128"),
            ("listeners", "7"),
            ("server_name", "A & B"),
            ("server_description", "\u{c3}\u{bc}ber"),
            ("genre", "caf\u{e9}"),
            ("title", "\u{201e}quoted\u{201c} \u{e9}"),
            ("total_bytes_read", "9"),
            ("no name", "x"),
            ("<b>", "x"),
        ]));
        let want = [
            ("bitrate", "128"),
            ("genre", "caf\u{e9}"),
            ("server_description", "\u{fc}ber"),
            ("server_name", "A & B"),
            ("title", "\u{201e}quoted\u{201c} \u{e9}"),
        ];
        let want: Vec<_> = stats(&want);
        assert_eq!(told.into_iter().collect::<Vec<_>>(), want);
        let long = fields(stats(&[("title", &"\u{20ac}".repeat(400))]));
        assert_eq!(long["title"].len(), STREAM_FIELD_BYTES_MAX / 3 * 3, "cut between letters");
        let many: Vec<_> = (0..99).map(|it| (format!("f{it:02}"), String::new())).collect();
        assert_eq!(fields(many).len(), STREAM_FIELDS_MAX);
    }

    #[test]
    fn a_stream_that_goes_on_keeps_its_beginning_and_the_next_one_has_its_own() {
        let source = |began| (mount("/a"), stats(&[("stream_start_iso8601", began)]));
        let first = streams([source("1")].into_iter(), &BTreeMap::new(), 10);
        let same = streams([source("1")].into_iter(), &first, 12);
        assert_eq!(same[&mount("/a")].1.since_unix_s, 10);
        let next = streams([source("2")].into_iter(), &same, 14);
        assert_eq!(next[&mount("/a")].1.since_unix_s, 14);
    }

    #[test]
    fn of_too_many_streams_the_youngest_are_left_out() {
        let fields = stats(&[("title", &"x".repeat(500))]);
        let known: BTreeMap<_, _> = (0..500)
            .map(|number| {
                let record = StreamRecord {
                    since_unix_s: 1_000 - number,
                    fields: fields.iter().cloned().collect(),
                };
                (mount(&format!("/{number:03}")), (String::new(), record))
            })
            .collect();
        let told = fitting(&known);
        assert!((50..150).contains(&told.len()), "{}", told.len());
        assert!(told.contains_key(&mount("/499")) && !told.contains_key(&mount("/000")));
        let record = serde_json::to_vec(&StreamsRecord::new(told)).expect("JSON");
        assert!(record.len() <= autoradio_common::limits::RECORD_BYTES_MAX);
    }
}
