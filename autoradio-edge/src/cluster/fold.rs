//! Folds what etcd tells into the cluster's state. Pure.
//!
//! The state depends on what stands in etcd and on nothing else: not on the order in which it was told, not on how the
//! events came in batches. So every node that has read the same revision holds the same snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use autoradio_common::limits::{MOUNTS_MAX, NODES_MAX, RECORD_BYTES_MAX};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cookies::{COOKIES, CookieRecord};
use super::limited::Limited;
use super::{
    AdminRecord, DrainRecord, Key, LoadRecord, Master, MasterRecord, MountPath, MountRecord,
    NodeName, NodeRecord, SCHEMA_VERSION, SharedMap, Snapshot, Stored, StreamsRecord, TitleRecord,
};

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key now has this value.
    Put {
        /// Whole key, prefix included.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// Revision at which the key came to be.
        create_revision: i64,
        /// Revision of this change.
        mod_revision: i64,
    },
    /// The key is gone.
    Delete {
        /// Whole key, prefix included.
        key: Vec<u8>,
        /// Revision of this change.
        mod_revision: i64,
    },
}

/// A record that is skipped while all others stay in force. To be logged once per key and revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Damaged {
    /// Its key, as text.
    pub key: String,
    /// Revision of the change that brought it.
    pub mod_revision: i64,
    /// What is wrong with it.
    pub reason: String,
}

/// The cluster's state while events come in.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    revision: i64,
    mounts: Limited<MountPath, MountRecord>,
    nodes: Limited<NodeName, NodeRecord>,
    masters: SharedMap<MountPath, Master>,
    loads: SharedMap<NodeName, Arc<LoadRecord>>,
    streams: SharedMap<NodeName, Arc<StreamsRecord>>,
    titles: SharedMap<MountPath, Arc<TitleRecord>>,
    draining: BTreeSet<NodeName>,
    cookies: Option<Arc<Stored<CookieRecord>>>,
    admin: Option<Arc<AdminRecord>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            revision: 0,
            mounts: Limited::new(MOUNTS_MAX),
            nodes: Limited::new(NODES_MAX),
            masters: SharedMap::default(),
            loads: SharedMap::default(),
            streams: SharedMap::default(),
            titles: SharedMap::default(),
            draining: BTreeSet::new(),
            cookies: None,
            admin: None,
        }
    }
}

impl State {
    /// Revision up to which everything is folded; 0 before the first listing.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Everything up to `revision` has been told.
    pub fn advance(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    /// Folds one event. A damaged record counts as absent, whatever stood at its key before.
    pub fn apply(&mut self, event: &Event) -> Option<Damaged> {
        let (Event::Put { key, mod_revision, .. } | Event::Delete { key, mod_revision }) = event;
        self.advance(*mod_revision);
        let damaged = |reason: String| Damaged {
            key: String::from_utf8_lossy(key).into_owned(),
            mod_revision: *mod_revision,
            reason,
        };
        let parsed = match Key::parse(key) {
            Ok(parsed) => parsed,
            // What never came into force needs no removal.
            Err(_) if matches!(event, Event::Delete { .. }) => return None,
            Err(error) => return Some(damaged(error.to_string())),
        };
        self.remove(&parsed);
        let Event::Put { value, create_revision, .. } = event else {
            return None;
        };
        self.put(parsed, value, *create_revision, *mod_revision).err().map(damaged)
    }

    /// The state as an immutable snapshot, without what is beyond the limits.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            mounts: self.mounts.in_force().clone(),
            nodes: self.nodes.in_force().clone(),
            masters: self.masters.clone(),
            loads: self.loads.clone(),
            streams: self.streams.clone(),
            titles: self.titles.clone(),
            draining: self.draining.clone(),
            cookies: self.cookies.clone(),
            admin: self.admin.clone(),
        }
    }

    /// Mounts and nodes beyond their limits: the youngest, which are left out of every snapshot.
    pub fn beyond_limits(&self) -> Vec<Damaged> {
        let left_out = |key: Key, mod_revision: i64, reason: String| Damaged {
            key: key.to_string(),
            mod_revision,
            reason,
        };
        let mounts = self.mounts.left_out().into_iter().map(|(path, mod_revision)| {
            let reason = format!("more than {MOUNTS_MAX} mounts");
            left_out(Key::Mount(path.clone()), mod_revision, reason)
        });
        let nodes = self.nodes.left_out().into_iter().map(|(name, mod_revision)| {
            let reason = format!("more than {NODES_MAX} nodes");
            left_out(Key::Node(name.clone()), mod_revision, reason)
        });
        mounts.chain(nodes).collect()
    }

    fn remove(&mut self, key: &Key) {
        match key {
            Key::Mount(path) => self.mounts.remove(path),
            Key::Node(name) => self.nodes.remove(name),
            Key::Master(path) => drop(self.masters.remove(path)),
            Key::Load(name) => drop(self.loads.remove(name)),
            Key::Streams(name) => drop(self.streams.remove(name)),
            Key::Title(path) => drop(self.titles.remove(path)),
            Key::Drain(name) => drop(self.draining.remove(name)),
            Key::Secret(name) if name == COOKIES => self.cookies = None,
            Key::Admin => self.admin = None,
            Key::Secret(_) | Key::Other(_) => {}
        }
    }

    fn put(
        &mut self,
        key: Key,
        value: &[u8],
        create_revision: i64,
        mod_revision: i64,
    ) -> Result<(), String> {
        match key {
            Key::Mount(path) => {
                let record = parse_mount(&path, value)?;
                self.mounts.insert(path, record, create_revision, mod_revision);
            }
            Key::Node(name) => {
                let record: NodeRecord = versioned(value)?;
                agrees(&record.name, &name)?;
                self.nodes.insert(name, record, create_revision, mod_revision);
            }
            Key::Master(path) => {
                let node = json::<MasterRecord>(value)?.node;
                let epoch = create_revision;
                self.masters.insert(path, Master { node, epoch });
            }
            Key::Load(name) => drop(self.loads.insert(name, Arc::new(versioned(value)?))),
            Key::Streams(name) => drop(self.streams.insert(name, Arc::new(versioned(value)?))),
            Key::Admin => self.admin = Some(Arc::new(versioned(value)?)),
            Key::Title(path) => drop(self.titles.insert(path, Arc::new(versioned(value)?))),
            Key::Drain(name) => {
                json::<DrainRecord>(value)?;
                self.draining.insert(name);
            }
            Key::Secret(name) if name == COOKIES => {
                self.cookies = Some(Arc::new(Stored { record: versioned(value)?, mod_revision }));
            }
            Key::Secret(_) | Key::Other(_) => {}
        }
        Ok(())
    }
}

/// Reads the record of a mount; the error says in words what is wrong with it.
pub(super) fn parse_mount(path: &MountPath, value: &[u8]) -> Result<MountRecord, String> {
    let record: MountRecord = versioned(value)?;
    agrees(&record.path, path)?;
    Ok(record)
}

fn agrees<Name: PartialEq + std::fmt::Display>(inside: &Name, key: &Name) -> Result<(), String> {
    if inside == key {
        Ok(())
    } else {
        Err(format!("the record says it is {inside}, its key says {key}"))
    }
}

/// Reads a record that carries a schema number. The number is judged first: another schema may hold anything else.
fn versioned<Record: DeserializeOwned>(value: &[u8]) -> Result<Record, String> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let schema = json::<Schema>(value)?.schema;
    if schema == SCHEMA_VERSION {
        json(value)
    } else {
        Err(format!("schema {schema}, this version reads {SCHEMA_VERSION}; upgrade this node"))
    }
}

/// Reads JSON of at most [`RECORD_BYTES_MAX`] bytes.
pub(super) fn json<Record: DeserializeOwned>(value: &[u8]) -> Result<Record, String> {
    if value.len() > RECORD_BYTES_MAX {
        return Err(format!("{} bytes, limit {RECORD_BYTES_MAX}", value.len()));
    }
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn put(key: &str, value: &str, revision: i64) -> Event {
        Event::Put {
            key: format!("/autoradio/v1/{key}").into_bytes(),
            value: value.as_bytes().to_owned(),
            create_revision: revision,
            mod_revision: revision,
        }
    }

    fn mount(path: &str, name: &str) -> String {
        json!({
            "schema": 1, "path": path, "source_username": "source",
            "source_password_hash": "$argon2id$x", "name": name, "jingle": {"every": 3},
        })
        .to_string()
    }

    fn node(name: &str) -> String {
        json!({
            "schema": 1, "name": name, "domain": "radio.test", "addresses": ["192.0.2.1"],
            "peer_address": "192.0.2.1", "http_port": 80, "icecast_port": 8000, "version": "0.1.0",
        })
        .to_string()
    }

    fn load(listeners: u64) -> String {
        json!({ "schema": 1, "sequence": 9, "listeners": listeners, "bits_per_second": 256_000 })
            .to_string()
    }

    fn cookies() -> String {
        let [one, two, three] = ["01", "02", "03"].map(|byte| byte.repeat(16));
        json!({ "schema": 1, "previous": one, "current": two, "next": three, "rolled_unix_s": 7 })
            .to_string()
    }

    fn streams() -> String {
        let stream = json!({ "since_unix_s": 7, "fields": { "server_name": "Live" } });
        json!({ "schema": 1, "streams": { "/live.mp3": stream }, "later": 1 }).to_string()
    }

    fn title() -> String {
        json!({ "schema": 1, "epoch": 5, "query": "song=x" }).to_string()
    }

    #[test]
    fn events_become_mounts_nodes_masters_and_drains() {
        let mut state = State::default();
        for event in [
            put("mounts/live.mp3", &mount("/live.mp3", "Live"), 3),
            put("nodes/a", &node("a"), 4),
            put("masters/live.mp3", r#"{"node":"a"}"#, 5),
            put("drain/a", "{}", 6),
            put("load/a", &load(2), 7),
            put("titles/live.mp3", &title(), 8),
            put("secrets/dns-cookie", &cookies(), 9),
            put("streams/a", &streams(), 10),
            put("admin", r#"{"schema":1,"password_hash":"$argon2id$x"}"#, 11),
            put("later/a", "not ours to read", 12),
        ] {
            assert_eq!(state.apply(&event), None, "{event:?}");
        }
        let snapshot = state.snapshot();
        let path: MountPath = "/live.mp3".parse().unwrap();
        let name: NodeName = "a".parse().unwrap();
        assert_eq!(snapshot.revision, 12);
        assert_eq!(snapshot.streams[&name].streams[&path].fields["server_name"], "Live");
        assert_eq!(snapshot.admin.expect("a record").password_hash, "$argon2id$x");
        let cookies = snapshot.cookies.expect("secrets");
        assert_eq!((cookies.mod_revision, cookies.record.rolled_unix_s), (9, 7));
        assert_eq!(snapshot.loads[&name].listeners, 2);
        assert_eq!(snapshot.titles[&path].query, "song=x");
        assert_eq!(snapshot.mounts[&path].name.as_deref(), Some("Live"));
        assert_eq!(snapshot.mounts[&path].unknown["jingle"]["every"], 3);
        assert_eq!(snapshot.nodes[&name].http_port, 80);
        assert_eq!(snapshot.masters[&path].epoch, 5);
        assert!(snapshot.draining.contains(&name));
    }

    #[test]
    fn damaged_records_are_told_with_their_key_and_the_rest_stays_in_force() {
        let long = format!("{{\"schema\":1,\"x\":\"{}\"}}", "x".repeat(RECORD_BYTES_MAX));
        for (why, key, value, want) in [
            ("not JSON", "mounts/bad", "{", "EOF"),
            ("no schema", "mounts/bad", "{}", "schema"),
            ("a newer schema", "mounts/bad", r#"{"schema":2,"all":"new"}"#, "schema 2"),
            ("a field missing", "mounts/bad", r#"{"schema":1,"path":"/bad"}"#, "source_username"),
            ("too long", "mounts/bad", &long, "limit"),
            ("another mount's record", "mounts/bad", &mount("/live", ""), "key says /bad"),
            ("another node's record", "nodes/b", &node("a"), "key says b"),
            ("a key that is no mount", "mounts/%2e%2e", "{}", "segments"),
            (
                "half a secret",
                "secrets/dns-cookie",
                &cookies().replace("0202", ""),
                "32 hexadecimal",
            ),
            ("a claim by nobody", "masters/bad", r#"{"node":"No One"}"#, "one DNS label"),
        ] {
            let mut state = State::default();
            state.apply(&put("mounts/live", &mount("/live", ""), 1));
            let damaged = state.apply(&put(key, value, 9)).expect(why);
            assert_eq!(damaged.key, format!("/autoradio/v1/{key}"), "{why}");
            assert_eq!(damaged.mod_revision, 9, "{why}");
            assert!(damaged.reason.contains(want), "{why}: {}", damaged.reason);
            let snapshot = state.snapshot();
            assert_eq!((snapshot.revision, snapshot.mounts.len()), (9, 1), "{why}");
            assert!(snapshot.nodes.is_empty() && snapshot.masters.is_empty(), "{why}");
        }
    }

    #[test]
    fn mounts_beyond_the_limit_are_left_out_youngest_first_until_there_is_room() {
        let mut state = State::default();
        for number in 0..=MOUNTS_MAX {
            let revision = i64::try_from(MOUNTS_MAX - number).unwrap() + 1;
            let path = format!("m{number}");
            state.apply(&put(&format!("mounts/{path}"), &mount(&format!("/{path}"), ""), revision));
        }
        let youngest: MountPath = "/m0".parse().unwrap();
        assert_eq!(state.beyond_limits().len(), 1);
        assert!(state.beyond_limits()[0].key.ends_with("mounts/m0"));
        assert_eq!(state.snapshot().mounts.len(), MOUNTS_MAX);
        assert!(!state.snapshot().mounts.contains_key(&youngest));
        let key = b"/autoradio/v1/mounts/m7".to_vec();
        state.apply(&Event::Delete { key, mod_revision: 20_000 });
        assert_eq!(state.beyond_limits(), []);
        assert!(state.snapshot().mounts.contains_key(&youngest));
    }

    proptest! {
        /// What a node holds that watched every change is what a node holds that listed once at the end.
        #[test]
        fn a_fold_is_independent_of_how_events_were_batched(
            changes in proptest::collection::vec((0..12_usize, 0..5_usize), 0..60),
        ) {
            let keys = ["streams/a", "admin", "mounts/a", "mounts/b", "nodes/a", "nodes/b", "masters/a", "drain/b", "load/a", "titles/b", "mounts/%00", "secrets/dns-cookie"];
            let good = [streams(), r#"{"schema":1,"password_hash":""}"#.to_owned(), mount("/a", ""), mount("/b", ""), node("a"), node("b"), r#"{"node":"a"}"#.to_owned(), "{}".to_owned(), load(3), title(), "{}".to_owned(), cookies()];
            let mut watched = State::default();
            let mut stored: BTreeMap<usize, (i64, i64, String)> = BTreeMap::new();
            let mut revision = 1;
            for (which, what) in changes {
                revision += 1;
                let key = format!("{PREFIX}{}", keys[which], PREFIX = super::super::PREFIX).into_bytes();
                let value = match what {
                    0 => None,
                    1 => Some("damage".to_owned()),
                    2 => Some(mount("/b", "other")),
                    _ => Some(good[which].clone()),
                };
                let event = if let Some(value) = value {
                    let create_revision = stored.get(&which).map_or(revision, |(created, ..)| *created);
                    stored.insert(which, (create_revision, revision, value.clone()));
                    Event::Put { key, value: value.into_bytes(), create_revision, mod_revision: revision }
                } else {
                    stored.remove(&which);
                    Event::Delete { key, mod_revision: revision }
                };
                watched.apply(&event);
            }
            let mut listed = State::default();
            for (which, (create_revision, mod_revision, value)) in stored {
                let key = format!("{}{}", super::super::PREFIX, keys[which]).into_bytes();
                listed.apply(&Event::Put { key, value: value.into_bytes(), create_revision, mod_revision });
            }
            watched.advance(revision);
            listed.advance(revision);
            prop_assert_eq!(watched, listed);
        }
    }
}
