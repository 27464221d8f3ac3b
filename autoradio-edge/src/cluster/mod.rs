//! The cluster's state in etcd: records, keys, events, and the immutable [`Snapshot`] they fold into.
//!
//! In: etcd (only `etcd.rs` speaks to it; `managed.rs` runs it). Out: `watch<Arc<Snapshot>>`, from [`join`].
//! Never here: decisions. `placement` decides; `claims.rs` only says which masterships to ask for.
//!
//! `key` and `fold` turn what etcd says into a [`State`]; `follow` keeps that state current and publishes snapshots;
//! `member` keeps this node's lease, record and claims; `outage` asks peers while the lease is in doubt; `neighbours` ends
//! the leases of dead daemons; `titles` keeps titles, `cookie_keeper` the secrets of DNS cookies; `mounts`, `drains` and `secrets` are what `radioctl` and the first
//! node write.

// Pure: what stands in etcd and what it means.
mod backup;
mod claims;
mod cookies;
mod fold;
mod http_url;
mod key;
mod limited;
mod load;
mod members;
mod mount_check;
mod mount_path;
mod mount_record;
mod record;
mod shared_map;
mod snapshot;

// The world: etcd, its process, the random numbers of the system, time.
mod cookie_keeper;
mod drains;
mod error;
mod etcd;
mod follow;
mod join;
mod managed;
mod member;
mod mounts;
mod neighbours;
mod outage;
mod password;
mod secrets;
mod standing;
mod titles;

pub use backup::{Backup, BackupError, CurrentMount, MountChange};
pub use claims::{Candidate, Preference};
pub use cookies::{CookieRecord, CookieSecret, RecordAge};
pub use error::ClusterError;
pub use etcd::{EtcdAccess, Store, TlsFiles};
pub use fold::{Damaged, Event, State};
pub use http_url::{HttpUrl, HttpUrlError};
pub use join::{ClusterHandle, ClusterSettings, EtcdHealth, join};
pub use key::{Key, KeyError, PREFIX};
pub use load::is_news;
pub use managed::{ManagedEtcd, StartedEtcd, known_endpoints, note_endpoints};
pub use members::{EtcdMember, MemberStatus, removable, voters_advice};
pub use mount_check::{MountError, check_mount};
pub use mount_path::{MountPath, MountPathError};
pub use mount_record::{MountRecord, SourceLimits};
pub use mounts::Stored;
use password::system_random_bytes;
pub use password::{hash_password, random_password};
pub use record::{
    Capacity, DrainRecord, IcecastSecrets, LoadRecord, MasterRecord, NodeRecord, SCHEMA_VERSION,
    SourceRecord, TitleRecord,
};
pub use shared_map::SharedMap;
pub use snapshot::{Master, NodeName, NodeNameError, Snapshot};
pub use standing::{Standing, StandingReader};
pub use titles::TitleWriter;
