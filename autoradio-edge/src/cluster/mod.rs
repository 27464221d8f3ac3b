//! The cluster's state in etcd: records, keys, events, and the immutable [`Snapshot`] they fold into.
//!
//! In: etcd (only `etcd.rs` and `managed.rs` touch it). Out: `watch<Arc<Snapshot>>`.
//! Never here: decisions. `placement` decides.

mod mount_path;
mod record;
mod snapshot;

pub use mount_path::{MountPath, MountPathError};
pub use record::{
    DrainRecord, IcecastSecrets, MasterRecord, MountRecord, NodeRecord, SCHEMA_VERSION,
};
pub use snapshot::{Master, NodeName, NodeNameError, Snapshot};
