//! Makings of tests: heads, records and placements.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};

use tokio::sync::watch;

use super::{ListenerGate, RequestHead, SourceGate};
use crate::cluster::{
    IcecastSecrets, LoadRecord, Master, MountRecord, NodeName, NodeRecord, Snapshot, Standing,
    StandingReader, StreamRecord, StreamsRecord,
};
use crate::placement::{Placement, place};

/// The head that `text` is.
pub(super) fn head_of(text: &str) -> RequestHead {
    RequestHead::parse(text.as_bytes()).expect("a head").expect("complete")
}

/// A mount whose password is hashed cheaply.
pub(super) fn mount_record(path: &str, user: &str, password: &str) -> MountRecord {
    let params = Params::new(64, 1, 1, None).expect("valid parameters");
    let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.as_bytes())
        .expect("a hash");
    MountRecord::new(path.parse().expect("a mount path"), user, hash.to_string())
}

/// A placement of these mounts, without nodes.
pub(super) fn placement_of(paths: &[&str]) -> Placement {
    let mut snapshot = Snapshot::default();
    for path in paths {
        let record = mount_record(path, "source", "hackme");
        snapshot.mounts.insert(record.path.clone(), Arc::new(record));
    }
    place(&snapshot)
}

/// A stream with these fields.
pub(super) fn stream_of(since_unix_s: u64, fields: &[(&str, &str)]) -> StreamRecord {
    let fields = fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    StreamRecord { since_unix_s, fields: fields.collect() }
}

/// A mount that plays: its path, its stream, listeners and different ones on each node, its peak.
type Plays<'a> = (&'a str, StreamRecord, &'a [(u64, u64)], u64);

/// A placement of nodes `node1` and `node2`, the first of which is master of these mounts.
pub(super) fn playing_on(mounts: &[Plays<'_>]) -> Placement {
    let mut snapshot = Snapshot::default();
    let names = ["node1", "node2"].map(|name| name.parse::<NodeName>().expect("a name"));
    let mut loads = [LoadRecord::idle(), LoadRecord::idle()];
    let mut streams = StreamsRecord::default();
    for (path, stream, listeners, peak) in mounts {
        let record = mount_record(path, "source", "hackme");
        let mount = record.path.clone();
        for (load, (count, unique)) in loads.iter_mut().zip(*listeners) {
            load.mounts.insert(mount.clone(), *count);
            load.unique.insert(mount.clone(), *unique);
        }
        loads[0].peaks.insert(mount.clone(), *peak);
        streams.streams.insert(mount.clone(), stream.clone());
        snapshot.masters.insert(mount.clone(), Master { node: names[0].clone(), epoch: 1 });
        snapshot.mounts.insert(mount, Arc::new(record));
    }
    for (name, load) in names.iter().zip(loads) {
        let json = serde_json::json!({
            "schema": 1, "name": name, "domain": "radio.test", "addresses": ["192.0.2.1"],
            "peer_address": "192.0.2.1", "http_port": 80, "icecast_port": 8000, "version": "0",
        });
        let record: NodeRecord = serde_json::from_value(json).expect("a record");
        snapshot.nodes.insert(name.clone(), Arc::new(record));
        snapshot.loads.insert(name.clone(), Arc::new(load));
    }
    snapshot.streams.insert(names[0].clone(), Arc::new(streams));
    place(&snapshot)
}

/// Passwords of a cluster.
pub(super) fn secrets() -> IcecastSecrets {
    IcecastSecrets {
        source_password: "inner".to_owned(),
        relay_password: String::new(),
        admin_password: String::new(),
    }
}

/// The gate of a node that knows no mounts.
pub(super) fn gate() -> Arc<SourceGate> {
    let (_, placements) = watch::channel(Arc::new(placement_of(&[])));
    let node = "node1".parse().expect("a node name");
    let standing = StandingReader::always(Standing::Sure);
    Arc::new(SourceGate::new(node, secrets(), placements, standing))
}

/// What judges listeners of a node that knows no mounts.
pub(super) fn listener_gate() -> Arc<ListenerGate> {
    let (_, placements) = watch::channel(Arc::new(placement_of(&[])));
    Arc::new(ListenerGate::new(("radio.test".to_owned(), 80), "relay".to_owned(), placements))
}
