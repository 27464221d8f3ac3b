//! What stands in etcd, what backups hold, and what peers say.

use std::fmt::Debug;

use autoradio_edge::cluster::{
    Backup, CookieRecord, DrainRecord, Event, HttpUrl, IcecastSecrets, Key, LoadRecord,
    MasterRecord, MountPath, MountRecord, NodeRecord, State, TitleRecord,
};
use autoradio_edge::dns::{ZoneSettings, compile};
use autoradio_edge::peer::PeerState;
use autoradio_edge::placement::place;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dns::check_zone;

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

/// A URL comes apart into what can stand in a request: no part can end its line, nor its element in Icecast's configuration.
pub(crate) fn http_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(url) = text.parse::<HttpUrl>() else {
        return;
    };
    assert!(url.target.starts_with('/') && !url.host.is_empty() && url.port > 0, "{url:?}");
    let line = [&url.target, &url.host].into_iter().flat_map(|part| part.bytes());
    assert!(line.clone().all(|byte| byte > b' ' && byte != 0x7f), "{url:?}");
    let again: HttpUrl = url.without_password().parse().expect("what is shown is a URL");
    assert_eq!((&again.host, again.port, &again.target), (&url.host, url.port, &url.target));
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

/// Records that belong together, each as it stands in the seeds: a mount, the node that holds it, and its claim.
const BESIDE: [(&str, &[u8]); 3] = [
    ("nodes/a", include_bytes!("../seeds/etcd_record/node")),
    ("mounts/m", include_bytes!("../seeds/etcd_record/mount")),
    ("masters/m", include_bytes!("../seeds/etcd_record/master")),
];

/// A value at each kind of key is folded or refused, beside records that are right; what is folded can be placed, and makes
/// a zone that DNS can carry.
pub(crate) fn record(data: &[u8]) {
    read_back::<MountRecord>(data);
    read_back::<NodeRecord>(data);
    read_back::<LoadRecord>(data);
    read_back::<TitleRecord>(data);
    read_back::<MasterRecord>(data);
    read_back::<DrainRecord>(data);
    read_back::<IcecastSecrets>(data);
    read_back::<CookieRecord>(data);
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
    for key in
        ["mounts/m", "nodes/a", "load/a", "titles/m", "masters/m", "drain/a", "secrets/dns-cookie"]
    {
        let mut state = beside();
        if let Some(damaged) = state.apply(&put(4, key, data)) {
            assert!(!damaged.reason.is_empty(), "a damaged record is told with its reason");
        }
        check_zone(&compile(&place(&state.snapshot()), &settings));
    }
}

/// What stands in etcd before the value in question comes: all of it is right.
fn beside() -> State {
    let mut state = State::default();
    for (revision, (key, value)) in (1..).zip(BESIDE) {
        let damaged = state.apply(&put(revision, key, value));
        assert!(damaged.is_none(), "{key}: {damaged:?}");
    }
    let snapshot = state.snapshot();
    let found = (snapshot.nodes.len(), snapshot.mounts.len(), snapshot.masters.len());
    assert_eq!(found, (1, 1, 1), "a mount that is held");
    state
}

fn put(revision: i64, key: &str, value: &[u8]) -> Event {
    let (key, value) = (format!("/autoradio/v1/{key}").into_bytes(), value.to_vec());
    Event::Put { key, value, create_revision: revision, mod_revision: revision }
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
