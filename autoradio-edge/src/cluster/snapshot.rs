//! The cluster as it was at one revision of etcd: immutable, shared, and in force until a newer one comes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AdminRecord, CookieRecord, LoadRecord, MountPath, MountRecord, NodeRecord, SharedMap, Stored,
    StreamsRecord, TitleRecord,
};

/// A node's name: one DNS label, 1 to 63 bytes of `[a-z0-9-]`, neither first nor last byte a hyphen. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

/// A text that is no node name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "node name {name:?}: use one DNS label, 1 to 63 of a-z, 0-9 and inner hyphens; \"source\" is taken"
)]
pub struct NodeNameError {
    /// What was given.
    pub name: String,
}

impl NodeName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(name: &str) -> Result<Self, NodeNameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = (1..=63).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name != "source";
        if valid { Ok(Self(name.into())) } else { Err(NodeNameError { name: name.to_owned() }) }
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;

    fn try_from(name: String) -> Result<Self, NodeNameError> {
        name.parse()
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Who holds a mount, and since which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// The node.
    pub node: NodeName,
    /// Create revision of the claim: grows with every change of master.
    pub epoch: i64,
}

/// All cluster state at one etcd revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// etcd's revision; 0 before the first listing.
    pub revision: i64,
    /// Every mount that parses.
    pub mounts: SharedMap<MountPath, Arc<MountRecord>>,
    /// Every node whose lease lives.
    pub nodes: SharedMap<NodeName, Arc<NodeRecord>>,
    /// Every claim on a mount.
    pub masters: SharedMap<MountPath, Master>,
    /// What nodes reported of their load.
    pub loads: SharedMap<NodeName, Arc<LoadRecord>>,
    /// What nodes reported of the streams that their Icecasts have.
    pub streams: SharedMap<NodeName, Arc<StreamsRecord>>,
    /// The last titles of mounts.
    pub titles: SharedMap<MountPath, Arc<TitleRecord>>,
    /// Nodes that the operator drains.
    pub draining: BTreeSet<NodeName>,
    /// Secrets of DNS cookies, and when they were changed last.
    pub cookies: Option<Arc<Stored<CookieRecord>>>,
    /// Who may use the admin pages, if anybody.
    pub admin: Option<Arc<AdminRecord>>,
}

impl Snapshot {
    /// This snapshot, or, if it names no node at all, one that names the node which reads it.
    ///
    /// A node that is asked is alive, whatever became of its lease: an empty answer would help nobody. Where others are
    /// known, a node that etcd has forgotten names them and not itself: they are whom everybody else names.
    #[must_use]
    pub fn or_alone(&self, own: &Arc<NodeRecord>) -> Self {
        let mut snapshot = self.clone();
        if snapshot.nodes.is_empty() {
            snapshot.nodes.insert(own.name.clone(), own.clone());
        }
        snapshot
    }
}
