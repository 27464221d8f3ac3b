//! Placement: decides which nodes DNS answers name, with what weight, and who is each mount's master.
//!
//! In: a [`Snapshot`]. Out: a [`Placement`]. Never here: sockets, clocks, locks, logging.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::cluster::{Master, MountPath, MountRecord, NodeName, NodeRecord, Snapshot};

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
}

/// A mount and who accepts its source.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedMount {
    /// The operator's settings.
    pub record: Arc<MountRecord>,
    /// The master, if somebody holds the mount.
    pub master: Option<Master>,
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
    let all_draining = snapshot
        .nodes
        .keys()
        .all(|name| snapshot.draining.contains(name));
    let place_node = |(name, record): (&NodeName, &Arc<NodeRecord>)| {
        let draining = snapshot.draining.contains(name);
        let weight = if draining && !all_draining {
            0
        } else {
            WEIGHT_FULL
        };
        (
            name.clone(),
            PlacedNode {
                record: record.clone(),
                weight,
                draining,
            },
        )
    };
    let place_mount = |(path, record): (&MountPath, &Arc<MountRecord>)| {
        let master = snapshot.masters.get(path).cloned();
        (
            path.clone(),
            PlacedMount {
                record: record.clone(),
                master,
            },
        )
    };
    Placement {
        revision: snapshot.revision,
        nodes: snapshot.nodes.iter().map(place_node).collect(),
        mounts: snapshot.mounts.iter().map(place_mount).collect(),
    }
}
