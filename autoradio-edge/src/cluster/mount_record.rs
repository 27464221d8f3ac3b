//! `mounts/<id>`: one mount, as the operator made it. Fields that a record does not have mean what they meant before there was such a
//! field, so old records read; fields that this version does not know are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{MountPath, SCHEMA_VERSION};

/// Time that listeners are kept without anything to play, in seconds, unless the mount says otherwise.
const GRACE_S_DEFAULT: u32 = 30;
/// What a listener gets at once on connecting, in bytes, unless the mount says otherwise (Icecast's own default).
const BURST_BYTES_DEFAULT: u32 = 65_536;

/// `mounts/<id>`: one mount, as the operator made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountRecord {
    /// Schema of this record: [`SCHEMA_VERSION`].
    pub schema: u32,
    /// The mount's path.
    pub path: MountPath,
    /// User name that sources give.
    pub source_username: String,
    /// Argon2 hash (PHC string) of the sources' password.
    pub source_password_hash: String,
    /// Name shown to listeners and directories; what its source says when absent, like the next four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Description shown to listeners and directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Genre shown to listeners and directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genre: Option<String>,
    /// Home page shown to listeners and directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whether directories may list it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Listeners of the whole mount on one node, no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_listeners: Option<u32>,
    /// Mount whose stream listeners get while this one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<MountPath>,
    /// Time that listeners are kept without anything to play, in seconds.
    #[serde(default = "grace_s_default")]
    pub grace_s: u32,
    /// What a listener gets at once on connecting, in bytes.
    #[serde(default = "burst_bytes_default")]
    pub burst_bytes: u32,
    /// Whether a request for a range is answered 206, as players of Apple's want it, instead of 200.
    #[serde(default, skip_serializing_if = "is_false")]
    pub range: bool,
    /// `http://` URL of the stream that the master pulls; such a mount needs no source of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_url: Option<String>,
    /// Who may listen: argon2 hashes (PHC strings) by user name. Absent: everybody; empty: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_users: Option<BTreeMap<String, String>>,
    /// `http://` URL that is asked about every listener (Icecast's `listener_add`). The users above come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_add_url: Option<String>,
    /// `http://` URL that is told of every listener who has left (Icecast's `listener_remove`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_remove_url: Option<String>,
    /// Number under which a `SHOUTcast` source means this mount; one that gives none means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shoutcast_sid: Option<u32>,
    /// What a source may not exceed.
    #[serde(default, skip_serializing_if = "SourceLimits::are_none")]
    pub source_limits: SourceLimits,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// What one connection of a source may not exceed. A source that does is closed; absent: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLimits {
    /// Bits per second, over some seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_second: Option<u64>,
    /// Bytes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Seconds in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl MountRecord {
    /// A mount with nothing but what its source needs: a user name, and the argon2 hash of a password.
    pub fn new(path: MountPath, source_username: &str, source_password_hash: String) -> Self {
        Self {
            schema: SCHEMA_VERSION,
            path,
            source_username: source_username.to_owned(),
            source_password_hash,
            name: None,
            description: None,
            genre: None,
            url: None,
            public: None,
            max_listeners: None,
            fallback: None,
            grace_s: GRACE_S_DEFAULT,
            burst_bytes: BURST_BYTES_DEFAULT,
            range: false,
            relay_url: None,
            listener_users: None,
            listener_add_url: None,
            listener_remove_url: None,
            shoutcast_sid: None,
            source_limits: SourceLimits::default(),
            unknown: Map::new(),
        }
    }

    /// Whether a listener has to show who it is, or somebody has to be asked.
    pub fn asks_listeners(&self) -> bool {
        self.listener_users.is_some() || self.listener_add_url.is_some()
    }
}

impl SourceLimits {
    /// Whether nothing is limited.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

fn grace_s_default() -> u32 {
    GRACE_S_DEFAULT
}

fn burst_bytes_default() -> u32 {
    BURST_BYTES_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_older_version_reads_with_what_was_meant_then() {
        let json = serde_json::json!({
            "schema": 1, "path": "/m", "source_username": "source", "source_password_hash": "$argon2id$x",
        });
        let read: MountRecord = serde_json::from_value(json).expect("a record");
        let new = MountRecord::new("/m".parse().expect("a path"), "source", "$argon2id$x".into());
        assert_eq!(read, new);
        assert_eq!((read.grace_s, read.burst_bytes, read.asks_listeners()), (30, 65_536, false));
    }

    #[test]
    fn what_this_version_does_not_know_is_written_back() {
        let json = serde_json::json!({
            "schema": 1, "path": "/m", "source_username": "source", "source_password_hash": "$argon2id$x",
            "grace_s": 5, "burst_bytes": 0, "range": true, "listener_users": {}, "fallback": "/f",
            "source_limits": {"bytes": 7, "frames": 9}, "moon": "full",
        });
        let read: MountRecord = serde_json::from_value(json.clone()).expect("a record");
        assert!(read.asks_listeners(), "an empty list lets nobody in");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), json);
    }
}
