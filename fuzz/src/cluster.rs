//! What stands in etcd, what backups hold, and what peers say.

use std::fmt::Debug;

use autoradio_edge::cluster::{
    Backup, CookieRecord, DrainRecord, Event, IcecastSecrets, Key, LoadRecord, MasterRecord,
    MountPath, MountRecord, NodeRecord, State, TitleRecord,
};
use autoradio_edge::dns::{Lookup, ZoneSettings, compile};
use autoradio_edge::peer::PeerState;
use autoradio_edge::placement::place;
use hickory_proto::op::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A mount path means the same in a URL, in a key of etcd and in a record, and has a DNS label.
pub(crate) fn mount_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for path in [MountPath::from_encoded(text), text.parse(), MountPath::from_id(text)] {
        let Ok(path) = path else { continue };
        assert_eq!(MountPath::from_encoded(&path.to_url_path()).as_ref(), Ok(&path), "URL");
        assert_eq!(MountPath::from_id(&path.id()).as_ref(), Ok(&path), "key");
        assert_eq!(path.as_str().parse().as_ref(), Ok(&path), "record");
        let label = path.label();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!((1..=63).contains(&label.len()) && label.bytes().all(allowed), "{label:?}");
        assert!(!label.starts_with('-') && !label.ends_with('-'), "{label:?}");
    }
}

/// A key that is read is written the same: no two keys mean one thing.
pub(crate) fn key(data: &[u8]) {
    if let Ok(key) = Key::parse(data) {
        assert_eq!(Key::parse(key.to_string().as_bytes()).as_ref(), Ok(&key));
        if matches!(key, Key::Mount(_) | Key::Master(_) | Key::Title(_)) {
            assert_eq!(key.to_string().as_bytes(), data, "one spelling");
        }
    }
}

/// A value at each kind of key is folded or refused; what is folded can be placed, and makes a zone that DNS can carry.
pub(crate) fn record(data: &[u8]) {
    read_back::<MountRecord>(data);
    read_back::<NodeRecord>(data);
    read_back::<LoadRecord>(data);
    read_back::<TitleRecord>(data);
    read_back::<MasterRecord>(data);
    read_back::<DrainRecord>(data);
    read_back::<IcecastSecrets>(data);
    read_back::<CookieRecord>(data);
    let mut state = State::default();
    let keys =
        ["mounts/m", "nodes/a", "load/a", "titles/m", "masters/m", "drain/a", "secrets/dns-cookie"];
    for (revision, key) in (1..).zip(keys) {
        let key = format!("/autoradio/v1/{key}").into_bytes();
        let value = data.to_vec();
        let put = Event::Put { key, value, create_revision: revision, mod_revision: revision };
        if let Some(damaged) = state.apply(&put) {
            assert!(!damaged.reason.is_empty(), "a damaged record is told with its reason");
        }
    }
    let placement = place(&state.snapshot());
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
    let zone = compile(&placement, &settings);
    for name in zone.names.keys() {
        for rtype in [1, 28, 2, 6] {
            if let Lookup::Found(set) = zone.lookup(name.as_bytes(), rtype) {
                set.variants.iter().for_each(|answer| whole(name.as_bytes(), rtype, answer));
            }
        }
    }
}

/// Checks that an answer to this question can be read.
fn whole(name: &[u8], rtype: u16, answer: &autoradio_edge::dns::Answer) {
    let mut message = vec![0, 0, 0x84, 0];
    for count in [1, answer.answers, answer.authorities, answer.additionals] {
        message.extend_from_slice(&count.to_be_bytes());
    }
    message.extend_from_slice(name);
    message.extend_from_slice(&rtype.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message.extend_from_slice(&answer.bytes);
    let decoded = Message::from_vec(&message).expect("an answer of the zone can be read");
    assert_eq!(decoded.answers.len(), usize::from(answer.answers));
}

/// A record that is read is the same when it is written and read again, fields of newer versions included.
fn read_back<Record: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<Record>(data) {
        let text = serde_json::to_vec(&record).expect("a record can be written");
        let again: Record = serde_json::from_slice(&text).expect("a record can be read again");
        assert_eq!(again, record);
    }
}

/// A backup that is read restores what it holds, and nothing twice.
pub(crate) fn backup(data: &[u8]) {
    if let Ok(backup) = Backup::parse(data) {
        let text = serde_json::to_vec(&backup).expect("a backup can be written");
        assert_eq!(Backup::parse(&text).as_ref(), Ok(&backup));
    }
}

/// What a peer says of itself is read or not.
pub(crate) fn peer_state(data: &[u8]) {
    read_back::<PeerState>(data);
}
