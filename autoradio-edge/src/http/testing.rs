//! Makings of tests: heads, records and placements.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};

use tokio::sync::watch;

use super::{ListenerGate, RequestHead, SourceGate};
use crate::cluster::{IcecastSecrets, MountRecord, Snapshot, Standing, StandingReader};
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
