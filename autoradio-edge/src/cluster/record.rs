//! The records that stand in etcd, as JSON. Fields this version does not know are kept when a record is written back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{MountPath, NodeName};

/// The schema this version reads and writes. A record of another schema is refused, not guessed at.
pub const SCHEMA_VERSION: u32 = 1;

/// `nodes/<name>`: what a node says about itself while it lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Schema of this record: [`SCHEMA_VERSION`].
    pub schema: u32,
    /// The node's name: the first label of its DNS name.
    pub name: NodeName,
    /// The zone the node serves, without a trailing dot.
    pub domain: String,
    /// Addresses that clients reach the node at; DNS answers carry them.
    pub addresses: Vec<IpAddr>,
    /// Address that peers reach the node at.
    pub peer_address: IpAddr,
    /// First port of the node's front.
    pub http_port: u16,
    /// Port of the node's Icecast.
    pub icecast_port: u16,
    /// Version of the daemon.
    pub version: String,
    /// Random, made with the node's state directory: tells a node that comes back from another of the same name.
    #[serde(default)]
    pub id: String,
    /// What the node may carry.
    #[serde(default)]
    pub capacity: Capacity,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// What a node may carry before it counts as full, its reserve for the loss of a peer already taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Listeners at one time.
    pub listeners: u32,
    /// Bits per second towards clients and peers.
    pub bits_per_second: u64,
}

impl Default for Capacity {
    /// A small machine on a fast line; what records of older versions count as.
    fn default() -> Self {
        Self { listeners: 1_000, bits_per_second: 1_000_000_000 }
    }
}

/// `load/<name>`: what a node carries now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// Schema of this record: [`SCHEMA_VERSION`].
    pub schema: u32,
    /// Grows with every report of one daemon.
    pub sequence: u64,
    /// Listeners of all mounts.
    pub listeners: u64,
    /// Bits per second that the node sends.
    pub bits_per_second: u64,
    /// Listeners by mount; mounts without any are left out, and those with the fewest when there are too many.
    #[serde(default)]
    pub mounts: BTreeMap<MountPath, u64>,
    /// Sources that are connected to this node's front.
    #[serde(default)]
    pub sources: BTreeMap<MountPath, SourceRecord>,
    /// Different listeners by mount, by address and `User-Agent`, where they are fewer than the listeners.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unique: BTreeMap<MountPath, u64>,
    /// Most listeners that a mount whose stream this node's Icecast has had in the whole cluster at one time, since it began.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peaks: BTreeMap<MountPath, u64>,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl LoadRecord {
    /// The load of a node that carries nothing yet.
    pub fn idle() -> Self {
        Self {
            schema: SCHEMA_VERSION,
            sequence: 0,
            listeners: 0,
            bits_per_second: 0,
            mounts: BTreeMap::new(),
            sources: BTreeMap::new(),
            unique: BTreeMap::new(),
            peaks: BTreeMap::new(),
            unknown: Map::new(),
        }
    }
}

/// A connected source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Since when, in seconds of Unix time. For people: nothing is decided by it.
    pub since_unix_s: u64,
    /// Media type of what it sends.
    pub content_type: String,
}

/// `streams/<name>`: what a node's Icecast says of the streams of those mounts that the node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsRecord {
    /// Schema of this record: [`SCHEMA_VERSION`].
    pub schema: u32,
    /// The streams; of too many the youngest are left out.
    pub streams: BTreeMap<MountPath, StreamRecord>,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl StreamsRecord {
    /// The record of these streams.
    pub fn new(streams: BTreeMap<MountPath, StreamRecord>) -> Self {
        Self { schema: SCHEMA_VERSION, streams, unknown: Map::new() }
    }
}

impl Default for StreamsRecord {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

/// A stream as Icecast tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Since when, in seconds of Unix time by that node's clock. For people.
    pub since_unix_s: u64,
    /// What holds while it plays, by Icecast's own names: `server_name`, `bitrate`, `title`, …
    pub fields: BTreeMap<String, String>,
}

/// `admin`: who may use the admin pages of the whole cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminRecord {
    /// Schema of this record: [`SCHEMA_VERSION`].
    pub schema: u32,
    /// Argon2 hash (PHC string) of the password of the user `admin`.
    pub password_hash: String,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl AdminRecord {
    /// The record with this hash.
    pub fn new(password_hash: String) -> Self {
        Self { schema: SCHEMA_VERSION, password_hash, unknown: Map::new() }
    }
}

impl std::fmt::Debug for AdminRecord {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("AdminRecord(..)")
    }
}

/// `titles/<id>`: the title that a mount's source set last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TitleRecord {
    /// Schema of this record: [`SCHEMA_VERSION`].
    pub schema: u32,
    /// The mount's epoch when the title was set.
    pub epoch: i64,
    /// The update as Icecast takes it: percent-encoded parameters of `/admin/metadata`, `mount` and `mode` included.
    pub query: String,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// `masters/<id>`: who accepts the mount's source. The key's create revision is the mount's epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterRecord {
    /// The node that holds the mount.
    pub node: NodeName,
}

/// `drain/<name>`: the operator's wish that a node take nothing new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrainRecord {
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// `secrets/icecast`: passwords between the daemon and every Icecast of the cluster, made once by the first node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcecastSecrets {
    /// Password of the tunnels that carry sources to Icecast (user `source`).
    pub source_password: String,
    /// Password of relays between the cluster's Icecasts (user `relay`).
    pub relay_password: String,
    /// Password of Icecast's own admin pages (user `admin`).
    pub admin_password: String,
}

impl std::fmt::Debug for IcecastSecrets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("IcecastSecrets(..)")
    }
}
