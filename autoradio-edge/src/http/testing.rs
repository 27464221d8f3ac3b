//! Makings of tests: heads, records and placements.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};

use super::RequestHead;
use crate::cluster::{MountRecord, Snapshot};
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
