//! Placement: decides which nodes DNS answers name, with what weight, where a listener goes, and who is each mount's master.
//!
//! In: a [`Snapshot`], the time, and a [`Ledger`] of what this node assigned since its peers' last reports. Out: a
//! [`Placement`], made by a [`Placer`]. Never here: sockets, clocks, locks, logging.

mod ledger;
mod placer;
pub mod rendezvous;
mod target;
mod utilisation;
mod weights;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::cluster::{
    AdminRecord, LoadRecord, Master, MountPath, MountRecord, NodeName, NodeRecord, SharedMap,
    Snapshot, SourceRecord, StreamRecord, StreamsRecord, TitleRecord,
};

pub use ledger::Ledger;
pub use placer::Placer;
pub use target::{Own, Target};
pub use utilisation::{BITS_PER_LISTENER_UNKNOWN, used_share};
pub use weights::{WEIGHT_QUANTUM, WEIGHT_STEP_PER_S};

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
    /// What nodes say of the streams that their Icecasts have.
    pub streams: SharedMap<NodeName, Arc<StreamsRecord>>,
    /// Who may use the admin pages, if anybody.
    pub admin: Option<Arc<AdminRecord>>,
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
    /// The node has reached its capacity, what is about to arrive there counted in.
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
    /// Whether a mount's master is this node.
    pub fn is_master(&self, node: &NodeName, mount: &MountPath) -> bool {
        let master = self.mounts.get(mount).and_then(|placed| placed.master.as_ref());
        master.is_some_and(|master| master.node == *node)
    }

    /// The mount's stream as its master's Icecast has it; `None` while there is none.
    pub fn stream(&self, mount: &MountPath) -> Option<&StreamRecord> {
        let master = self.mounts.get(mount)?.master.as_ref()?;
        // A node that is gone has taken its stream along, whatever its record still says.
        self.nodes.get(&master.node)?;
        self.streams.get(&master.node)?.streams.get(mount)
    }

    /// What living nodes reported of their load.
    pub fn loads(&self) -> impl Iterator<Item = &LoadRecord> {
        self.nodes.values().filter_map(|node| node.load.as_deref())
    }

    /// The mount's listeners on all nodes, as far as reported.
    pub fn listeners(&self, mount: &MountPath) -> u64 {
        self.loads().filter_map(|load| load.mounts.get(mount)).sum()
    }

    /// Address and Icecast port of a mount's master, `None` while nobody holds the mount.
    pub fn master_icecast(&self, mount: &MountPath) -> Option<(IpAddr, u16)> {
        let master = self.mounts.get(mount)?.master.as_ref()?;
        let record = &self.nodes.get(&master.node)?.record;
        Some((record.peer_address, record.icecast_port))
    }
}

/// Places a snapshot as a [`Placer`] without a past does.
pub fn place(snapshot: &Snapshot) -> Placement {
    Placer::default().place(snapshot, 0, &Ledger::default())
}

/// All mounts with what is known of them.
fn place_mounts(snapshot: &Snapshot) -> BTreeMap<MountPath, PlacedMount> {
    let mut sources = sources(snapshot);
    let place_mount = |(path, record): (&MountPath, &Arc<MountRecord>)| {
        let master = snapshot.masters.get(path).cloned();
        let title = snapshot.titles.get(path).cloned();
        let source = sources.remove(path);
        (path.clone(), PlacedMount { record: record.clone(), master, title, source })
    };
    snapshot.mounts.iter().map(place_mount).collect()
}

/// All sources that living nodes report; of several for one mount the youngest.
fn sources(snapshot: &Snapshot) -> HashMap<&MountPath, PlacedSource> {
    let mut sources: HashMap<&MountPath, PlacedSource> = HashMap::new();
    let living = snapshot.loads.iter().filter(|(node, _)| snapshot.nodes.contains_key(*node));
    for (node, load) in living {
        for (path, record) in &load.sources {
            let seen = sources.get(path).map_or(0, |seen| seen.record.since_unix_s);
            if record.since_unix_s >= seen {
                let source = PlacedSource { node: node.clone(), record: record.clone() };
                sources.insert(path, source);
            }
        }
    }
    sources
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cluster::{Capacity, SCHEMA_VERSION};

    pub(crate) fn record(name: &str, address: &str) -> Arc<NodeRecord> {
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
        let known = one_node_snapshot();
        assert_eq!(known.or_alone(&other), known, "others are known: they stand");
    }

    #[test]
    fn a_mounts_source_is_the_youngest_that_a_living_node_reports() {
        let mut snapshot = one_node_snapshot();
        let second = record("node2", "198.18.0.2");
        snapshot.nodes.insert(second.name.clone(), second);
        let path: MountPath = "/live.mp3".parse().expect("path");
        let mount = MountRecord::new(path.clone(), "source", String::new());
        snapshot.mounts.insert(path.clone(), Arc::new(mount));
        for (node, since_unix_s) in [("node1", 50), ("node2", 40), ("gone", 60)] {
            let mut load = LoadRecord::idle();
            let source = SourceRecord { since_unix_s, content_type: "audio/ogg".into() };
            load.sources.insert(path.clone(), source);
            snapshot.loads.insert(node.parse().expect("name"), Arc::new(load));
        }
        let source = place(&snapshot).mounts[&path].source.clone().expect("a source");
        assert_eq!((source.node.as_str(), source.record.since_unix_s), ("node1", 50));
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
