//! The most listeners that a stream has had at one time. Pure.

use std::collections::BTreeMap;

use crate::cluster::{MountPath, StreamsRecord};

/// Of each stream that this node's Icecast has, since it began.
#[derive(Debug, Default)]
pub(super) struct Peaks(BTreeMap<MountPath, Peak>);

#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    since_unix_s: u64,
    listeners: u64,
}

impl Peaks {
    /// Takes a look at how many listeners each of the streams has now; the most of each so far. A stream that began anew begins anew
    /// here, as in Icecast.
    pub(super) fn note(
        &mut self,
        streams: &StreamsRecord,
        listeners: impl Fn(&MountPath) -> u64,
    ) -> Vec<(MountPath, u64)> {
        let before = std::mem::take(&mut self.0);
        for (mount, stream) in &streams.streams {
            let since_unix_s = stream.since_unix_s;
            let known = before.get(mount).filter(|peak| peak.since_unix_s == since_unix_s);
            let most = known.map_or(0, |peak| peak.listeners).max(listeners(mount));
            self.0.insert(mount.clone(), Peak { since_unix_s, listeners: most });
        }
        self.0.iter().map(|(mount, peak)| (mount.clone(), peak.listeners)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::StreamRecord;

    #[test]
    fn the_most_listeners_are_remembered_until_the_stream_begins_anew() {
        let mount: MountPath = "/a".parse().expect("a mount path");
        let streams = |since_unix_s| {
            let stream = StreamRecord { since_unix_s, ..StreamRecord::default() };
            StreamsRecord::new([(mount.clone(), stream)].into())
        };
        let mut peaks = Peaks::default();
        for (why, since, listeners, want) in [
            ("the first", 1, 5, 5),
            ("fewer", 1, 2, 5),
            ("more", 1, 6, 6),
            ("another stream", 9, 1, 1),
        ] {
            let noted = peaks.note(&streams(since), |_| listeners);
            assert_eq!(noted, [(mount.clone(), want)], "{why}");
        }
        assert!(peaks.note(&StreamsRecord::default(), |_| 9).is_empty());
        assert_eq!(peaks.note(&streams(9), |_| 0), [(mount.clone(), 0)], "it was gone");
    }
}
