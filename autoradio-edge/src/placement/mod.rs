//! Placement: decides which nodes DNS answers name, with what weight, and who is each mount's master.
//!
//! In: a [`Snapshot`]. Out: a [`Placement`]. Never here: sockets, clocks, locks, logging.

pub mod rendezvous;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::cluster::{
    LoadRecord, Master, MountPath, MountRecord, NodeName, NodeRecord, Snapshot, SourceRecord,
    TitleRecord,
};

/// Weight of a node that takes its full share.
pub const WEIGHT_FULL: u32 = 1_000;

/// What every sink acts on: nodes with weights, mounts with masters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// Revision of the snapshot this was made from.
    pub revision: i64,
    /// Nodes that live, by name.
    pub nodes: BTreeMap<NodeName, PlacedNode>,
    /// All mounts, by path.
    pub mounts: BTreeMap<MountPath, PlacedMount>,
}

/// A living node and its share of the crowd.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedNode {
    /// What the node says of itself.
    pub record: Arc<NodeRecord>,
    /// Share of new listeners: `0..=WEIGHT_FULL`. Never all zero (fail open).
    pub weight: u32,
    /// The operator wants the node to take nothing new.
    pub draining: bool,
    /// The node has reached its capacity.
    pub full: bool,
    /// What the node reported last.
    pub load: Option<Arc<LoadRecord>>,
}

/// A mount and who accepts its source.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedMount {
    /// The operator's settings.
    pub record: Arc<MountRecord>,
    /// The master, if somebody holds the mount.
    pub master: Option<Master>,
    /// The title that was set last.
    pub title: Option<Arc<TitleRecord>>,
    /// The source as the front of some node reported it.
    pub source: Option<PlacedSource>,
}

/// A connected source, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedSource {
    /// The node whose front it is connected to.
    pub node: NodeName,
    /// What that front reported.
    pub record: SourceRecord,
}

impl Placement {
    /// Address and Icecast port of a mount's master, `None` while nobody holds the mount.
    pub fn master_icecast(&self, mount: &MountPath) -> Option<(IpAddr, u16)> {
        let master = self.mounts.get(mount)?.master.as_ref()?;
        let record = &self.nodes.get(&master.node)?.record;
        Some((record.peer_address, record.icecast_port))
    }
}

/// Places a snapshot. Draining nodes weigh nothing, all others the same.
///
/// If that leaves no weight at all, every living node weighs the same: an empty answer helps nobody (fail open).
pub fn place(snapshot: &Snapshot) -> Placement {
    let all_draining = snapshot.nodes.keys().all(|name| snapshot.draining.contains(name));
    let place_node = |(name, record): (&NodeName, &Arc<NodeRecord>)| {
        let draining = snapshot.draining.contains(name);
        let weight = if draining && !all_draining { 0 } else { WEIGHT_FULL };
        let load = snapshot.loads.get(name).cloned();
        (name.clone(), PlacedNode { record: record.clone(), weight, draining, full: false, load })
    };
    let sources = sources(snapshot);
    let place_mount = |(path, record): (&MountPath, &Arc<MountRecord>)| {
        let master = snapshot.masters.get(path).cloned();
        let title = snapshot.titles.get(path).cloned();
        let source = sources.get(path).cloned();
        (path.clone(), PlacedMount { record: record.clone(), master, title, source })
    };
    Placement {
        revision: snapshot.revision,
        nodes: snapshot.nodes.iter().map(place_node).collect(),
        mounts: snapshot.mounts.iter().map(place_mount).collect(),
    }
}

/// All sources that living nodes report; of several for one mount the youngest.
fn sources(snapshot: &Snapshot) -> BTreeMap<MountPath, PlacedSource> {
    let mut sources: BTreeMap<MountPath, PlacedSource> = BTreeMap::new();
    for (node, load) in &snapshot.loads {
        for (path, record) in load.sources.iter().filter(|_| snapshot.nodes.contains_key(node)) {
            let seen = sources.get(path).map_or(0, |seen| seen.record.since_unix_s);
            if record.since_unix_s >= seen {
                let source = PlacedSource { node: node.clone(), record: record.clone() };
                sources.insert(path.clone(), source);
            }
        }
    }
    sources
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cluster::{Capacity, SCHEMA_VERSION};

    fn record(name: &str, address: &str) -> Arc<NodeRecord> {
        let address = address.parse().expect("address");
        Arc::new(NodeRecord {
            schema: SCHEMA_VERSION,
            name: name.parse().expect("name"),
            domain: "radio.example.com".into(),
            addresses: vec![address],
            peer_address: address,
            http_port: 80,
            icecast_port: 8000,
            version: "0".into(),
            id: String::new(),
            capacity: Capacity::default(),
            unknown: serde_json::Map::new(),
        })
    }

    /// `node1` at 198.18.0.1, alone.
    pub(crate) fn one_node_snapshot() -> Snapshot {
        let record = record("node1", "198.18.0.1");
        Snapshot {
            revision: 7,
            nodes: [(record.name.clone(), record)].into(),
            ..Snapshot::default()
        }
    }

    fn weights(snapshot: &Snapshot) -> Vec<u32> {
        place(snapshot).nodes.values().map(|node| node.weight).collect()
    }

    #[test]
    fn draining_nodes_weigh_nothing_unless_all_drain() {
        let mut snapshot = one_node_snapshot();
        let second = record("node2", "198.18.0.2");
        snapshot.nodes.insert(second.name.clone(), second.clone());
        assert_eq!(weights(&snapshot), [WEIGHT_FULL, WEIGHT_FULL]);
        snapshot.draining.insert(second.name.clone());
        assert_eq!(weights(&snapshot), [WEIGHT_FULL, 0]);
        snapshot.draining.insert("node1".parse().expect("name"));
        assert_eq!(weights(&snapshot), [WEIGHT_FULL, WEIGHT_FULL], "fail open");
    }

    #[test]
    fn a_node_that_nobody_knows_of_still_places_itself() {
        let own = record("node1", "198.18.0.1");
        let alone = place(&Snapshot::default().or_alone(&own));
        assert_eq!(alone.nodes.keys().collect::<Vec<_>>(), [&own.name]);
        let other = record("node2", "198.18.0.2");
        let known = one_node_snapshot().or_alone(&other);
        assert_eq!(known, one_node_snapshot(), "others are known: they stand");
    }

    #[test]
    fn a_mounts_master_is_found_only_while_it_lives() {
        let mut snapshot = one_node_snapshot();
        let path: MountPath = "/live.mp3".parse().expect("path");
        let mount = MountRecord::new(path.clone(), "source", String::new());
        snapshot.mounts.insert(path.clone(), Arc::new(mount));
        assert_eq!(place(&snapshot).master_icecast(&path), None, "nobody holds it");
        let master = |node: &str| Master { node: node.parse().expect("name"), epoch: 3 };
        snapshot.masters.insert(path.clone(), master("node1"));
        let address = "198.18.0.1".parse().expect("address");
        assert_eq!(place(&snapshot).master_icecast(&path), Some((address, 8000)));
        snapshot.masters.insert(path.clone(), master("gone"));
        assert_eq!(place(&snapshot).master_icecast(&path), None, "its node is gone");
    }
}
