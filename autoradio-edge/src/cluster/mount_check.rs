//! Whether a mount makes sense among the others. Pure.
//!
//! Asked before a record is written. Nodes do not rely on it: they read what stands in etcd, and two edits at one time may together make
//! what neither would have made alone.

use std::sync::Arc;

use super::{HttpUrl, HttpUrlError, MountPath, MountRecord, SharedMap};

/// Longest time that listeners can be kept without anything to play, in seconds.
const GRACE_S_MAX: u32 = 3_600;
/// Largest burst, in bytes: what a node keeps of a stream at least.
const BURST_BYTES_MAX: u32 = 256 * 1_024;

/// Why a mount makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The fallback is no mount.
    #[error("the fallback {fallback} is no mount: create it first")]
    FallbackUnknown {
        /// What was given.
        fallback: MountPath,
    },
    /// A mount that would play itself.
    #[error("the fallback would come back to where it began: {}", .way.join(" -> "))]
    FallbackCycle {
        /// The mounts on the way.
        way: Vec<String>,
    },
    /// The grace time is too long.
    #[error("a grace of {seconds} s: the longest is {GRACE_S_MAX}")]
    Grace {
        /// What was given.
        seconds: u32,
    },
    /// The burst is too large.
    #[error("a burst of {bytes} bytes: the largest is {BURST_BYTES_MAX}")]
    Burst {
        /// What was given.
        bytes: u32,
    },
    /// One of the URLs is none.
    #[error("{what}: {error}")]
    Url {
        /// What the URL is for.
        what: &'static str,
        /// What is wrong with it.
        error: HttpUrlError,
    },
    /// Two ways to decide who may listen.
    #[error(
        "listeners are let in by a list of users or by a URL, not by both: --open-to-all ends either"
    )]
    TwoListenerRules,
    /// Somebody would be told of leaving listeners without having been asked.
    #[error(
        "a URL that is told of leaving listeners needs one that is asked about coming ones (--listener-add-url)"
    )]
    RemoveWithoutAdd,
    /// Two mounts with one SHOUTcast number.
    #[error("SHOUTcast number {sid} is that of {other} already")]
    SidTaken {
        /// The number.
        sid: u32,
        /// The mount that has it.
        other: MountPath,
    },
    /// A mount that is pulled takes no source.
    #[error("a mount with a relay URL takes no source, so it can have no SHOUTcast number")]
    PulledWithSid,
}

/// Judges a record that is to stand among `mounts`, in place of the one of its path.
pub fn check_mount(
    record: &MountRecord,
    mounts: &SharedMap<MountPath, Arc<MountRecord>>,
) -> Result<(), MountError> {
    if record.grace_s > GRACE_S_MAX {
        return Err(MountError::Grace { seconds: record.grace_s });
    }
    if record.burst_bytes > BURST_BYTES_MAX {
        return Err(MountError::Burst { bytes: record.burst_bytes });
    }
    for (what, url) in [
        ("--relay-url", &record.relay_url),
        ("--listener-add-url", &record.listener_add_url),
        ("--listener-remove-url", &record.listener_remove_url),
    ] {
        if let Some(url) = url {
            url.parse::<HttpUrl>().map_err(|error| MountError::Url { what, error })?;
        }
    }
    if record.listener_users.is_some() && record.listener_add_url.is_some() {
        return Err(MountError::TwoListenerRules);
    }
    if record.listener_remove_url.is_some() && record.listener_add_url.is_none() {
        return Err(MountError::RemoveWithoutAdd);
    }
    sid_is_free(record, mounts)?;
    fallbacks_end(record, mounts)
}

fn sid_is_free(
    record: &MountRecord,
    mounts: &SharedMap<MountPath, Arc<MountRecord>>,
) -> Result<(), MountError> {
    let Some(sid) = record.shoutcast_sid else { return Ok(()) };
    if record.relay_url.is_some() {
        return Err(MountError::PulledWithSid);
    }
    let mut others = mounts.values().filter(|other| other.path != record.path);
    match others.find(|other| other.shoutcast_sid == Some(sid)) {
        Some(other) => Err(MountError::SidTaken { sid, other: other.path.clone() }),
        None => Ok(()),
    }
}

/// Follows the fallbacks to the last.
fn fallbacks_end(
    record: &MountRecord,
    mounts: &SharedMap<MountPath, Arc<MountRecord>>,
) -> Result<(), MountError> {
    let mut way = vec![record.path.clone()];
    let mut next = record.fallback.as_ref();
    while let Some(fallback) = next {
        let again = way.contains(fallback);
        way.push(fallback.clone());
        if again {
            let way = way.iter().map(ToString::to_string).collect();
            return Err(MountError::FallbackCycle { way });
        }
        next = match mounts.get(fallback) {
            Some(record) => record.fallback.as_ref(),
            None if record.fallback.as_ref() == Some(fallback) => {
                return Err(MountError::FallbackUnknown { fallback: fallback.clone() });
            }
            // A mount that was deleted since; nodes do without.
            None => None,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn record(path: &str, fallback: Option<&str>) -> MountRecord {
        let parsed = |path: &str| path.parse::<MountPath>().expect("a mount path");
        let mut record = MountRecord::new(parsed(path), "source", String::new());
        record.fallback = fallback.map(parsed);
        record
    }

    fn mounts(records: &[MountRecord]) -> SharedMap<MountPath, Arc<MountRecord>> {
        let mut mounts = SharedMap::default();
        for record in records {
            mounts.insert(record.path.clone(), Arc::new(record.clone()));
        }
        mounts
    }

    #[test]
    fn fallbacks_lead_somewhere_and_never_back() {
        let others =
            mounts(&[record("/a", Some("/b")), record("/b", None), record("/c", Some("/gone"))]);
        let judged = |path, fallback| check_mount(&record(path, Some(fallback)), &others);
        assert_eq!(judged("/new", "/a"), Ok(()));
        assert_eq!(judged("/new", "/c"), Ok(()), "the mount behind it was deleted");
        for (path, fallback, want) in [
            ("/new", "/no", "create it first"),
            ("/new", "/new", "/new -> /new"),
            ("/b", "/a", "/b -> /a -> /b"),
        ] {
            let error = judged(path, fallback).expect_err(want).to_string();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        type Change = fn(&mut MountRecord);
        let mut taken = record("/taken", None);
        taken.shoutcast_sid = Some(1);
        let others = mounts(&[taken.clone()]);
        assert_eq!(check_mount(&taken, &others), Ok(()), "its own number");
        let changes: [(Change, &str); 8] = [
            (|it| it.grace_s = 3_601, "3601 s"),
            (|it| it.burst_bytes = 262_145, "262145 bytes"),
            (|it| it.relay_url = Some("https://h/x".into()), "--relay-url"),
            (|it| it.listener_add_url = Some("h".into()), "--listener-add-url"),
            (|it| it.listener_remove_url = Some("http://h/".into()), "--listener-add-url"),
            (
                |it| {
                    it.listener_users = Some(BTreeMap::new());
                    it.listener_add_url = Some("http://h/".into());
                },
                "not by both",
            ),
            (|it| it.shoutcast_sid = Some(1), "that of /taken already"),
            (
                |it| {
                    it.shoutcast_sid = Some(2);
                    it.relay_url = Some("http://h/".into());
                },
                "takes no source",
            ),
        ];
        for (change, want) in changes {
            let mut wrong = record("/m", None);
            change(&mut wrong);
            let error = check_mount(&wrong, &others).expect_err(want).to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}
