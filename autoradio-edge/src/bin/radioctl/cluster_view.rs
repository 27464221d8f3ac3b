//! What the operator is shown of the whole cluster. The JSON form is stable: fields are added, never renamed or removed.

use std::collections::BTreeMap;

use autoradio_edge::cluster::{Capacity, LoadRecord, MountPath, NodeName, Snapshot};
use autoradio_edge::placement::{PlacedMount, PlacedNode, Placement};
use serde::Serialize;

/// A node, or one that only its draining is known of.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct NodeView {
    /// Its name.
    pub(crate) name: String,
    /// `up`, `full`, `draining`, or `down` when only the wish to drain it is left.
    pub(crate) state: &'static str,
    /// Addresses that clients reach it at.
    pub(crate) addresses: Vec<String>,
    /// Address that peers reach it at, or null.
    pub(crate) peer_address: Option<String>,
    /// Version of its daemon, or null.
    pub(crate) version: Option<String>,
    /// Listeners it serves.
    pub(crate) listeners: u64,
    /// Listeners at which it counts as full.
    pub(crate) listeners_max: u64,
    /// What it sends, in bits per second.
    pub(crate) bits_per_second: u64,
    /// Bits per second at which it counts as full.
    pub(crate) bits_per_second_max: u64,
    /// The larger of the two shares, 1 when full.
    pub(crate) utilisation: f64,
    /// Sources connected to its front.
    pub(crate) sources: usize,
    /// Mounts whose master it is.
    pub(crate) masters: usize,
}

/// A mount, in the cluster's status.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct MountStatusView {
    /// Its path.
    pub(crate) path: String,
    /// Node that takes the source, or null while nobody does.
    pub(crate) master: Option<String>,
    /// Grows with every change of master; null without one.
    pub(crate) epoch: Option<i64>,
    /// Its source, or null while none is connected.
    pub(crate) source: Option<SourceView>,
    /// Listeners on all nodes.
    pub(crate) listeners: u64,
    /// Listeners by node; nodes without any are left out.
    pub(crate) listeners_by_node: BTreeMap<String, u64>,
}

/// A connected source.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct SourceView {
    /// Node whose front it is connected to.
    pub(crate) node: String,
    /// Since when, in seconds of Unix time.
    pub(crate) since_unix_s: u64,
    /// Media type of what it sends.
    pub(crate) content_type: String,
}

/// The whole cluster.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct StatusView {
    /// etcd's revision.
    pub(crate) revision: i64,
    /// The zone, or null while no node lives to tell it.
    pub(crate) domain: Option<String>,
    /// Listeners on all nodes.
    pub(crate) listeners: u64,
    /// All nodes.
    pub(crate) nodes: Vec<NodeView>,
    /// All mounts.
    pub(crate) mounts: Vec<MountStatusView>,
}

/// All nodes.
pub(crate) fn nodes(snapshot: &Snapshot, placement: &Placement) -> Vec<NodeView> {
    let living = placement.nodes.iter().map(|(name, node)| living(snapshot, name, node));
    let gone = snapshot.draining.iter().filter(|name| !snapshot.nodes.contains_key(*name));
    living.chain(gone.map(down)).collect()
}

/// The whole cluster.
pub(crate) fn status(snapshot: &Snapshot, placement: &Placement) -> StatusView {
    let nodes = nodes(snapshot, placement);
    StatusView {
        revision: snapshot.revision,
        domain: snapshot.nodes.values().next().map(|node| node.domain.clone()),
        listeners: nodes.iter().map(|node| node.listeners).sum(),
        nodes,
        mounts: placement
            .mounts
            .iter()
            .map(|(path, mount)| mount_status(placement, path, mount))
            .collect(),
    }
}

fn living(snapshot: &Snapshot, name: &NodeName, node: &PlacedNode) -> NodeView {
    let (record, load) = (&node.record, node.load.as_deref());
    NodeView {
        name: name.to_string(),
        state: match node {
            PlacedNode { draining: true, .. } => "draining",
            PlacedNode { full: true, .. } => "full",
            _ => "up",
        },
        addresses: record.addresses.iter().map(ToString::to_string).collect(),
        peer_address: Some(record.peer_address.to_string()),
        version: Some(record.version.clone()),
        listeners: load.map_or(0, |load| load.listeners),
        listeners_max: record.capacity.listeners.into(),
        bits_per_second: load.map_or(0, |load| load.bits_per_second),
        bits_per_second_max: record.capacity.bits_per_second,
        utilisation: utilisation(record.capacity, load),
        sources: load.map_or(0, |load| load.sources.len()),
        masters: snapshot.masters.values().filter(|master| master.node == *name).count(),
    }
}

fn down(name: &NodeName) -> NodeView {
    NodeView {
        name: name.to_string(),
        state: "down",
        addresses: Vec::new(),
        peer_address: None,
        version: None,
        listeners: 0,
        listeners_max: 0,
        bits_per_second: 0,
        bits_per_second_max: 0,
        utilisation: 0.0,
        sources: 0,
        masters: 0,
    }
}

fn mount_status(placement: &Placement, path: &MountPath, mount: &PlacedMount) -> MountStatusView {
    let by_node = placement.nodes.iter().filter_map(|(name, node)| {
        let listeners = *node.load.as_ref()?.mounts.get(path)?;
        Some((name.to_string(), listeners))
    });
    let listeners_by_node: BTreeMap<String, u64> = by_node.collect();
    MountStatusView {
        path: path.to_string(),
        master: mount.master.as_ref().map(|master| master.node.to_string()),
        epoch: mount.master.as_ref().map(|master| master.epoch),
        source: mount.source.as_ref().map(|source| SourceView {
            node: source.node.to_string(),
            since_unix_s: source.record.since_unix_s,
            content_type: source.record.content_type.clone(),
        }),
        listeners: listeners_by_node.values().sum(),
        listeners_by_node,
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown in percent")]
fn utilisation(capacity: Capacity, load: Option<&LoadRecord>) -> f64 {
    let Some(load) = load else { return 0.0 };
    let listeners = load.listeners as f64 / f64::from(capacity.listeners.max(1));
    let bits = load.bits_per_second as f64 / capacity.bits_per_second.max(1) as f64;
    listeners.max(bits)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use autoradio_edge::cluster::{Master, MountRecord, NodeRecord};
    use autoradio_edge::placement::place;
    use serde_json::json;

    use super::*;

    /// Nodes a and b, b draining; /live held by a, its source at b, heard on both.
    fn snapshot() -> Snapshot {
        let name = |name: &str| name.parse::<NodeName>().unwrap();
        let path: MountPath = "/live".parse().unwrap();
        let node = |node: &str| -> NodeRecord {
            let json = json!({
                "schema": 1, "name": node, "domain": "radio.test", "addresses": ["192.0.2.1"],
                "peer_address": "10.0.0.1", "http_port": 80, "icecast_port": 8000, "version": "0.1.0",
                "capacity": { "listeners": 10, "bits_per_second": 1_000_000 },
            });
            serde_json::from_value(json).unwrap()
        };
        let load = |listeners: u64, sources: serde_json::Value| -> LoadRecord {
            let json = json!({
                "schema": 1, "sequence": 1, "listeners": listeners, "bits_per_second": 100_000,
                "mounts": { "/live": listeners }, "sources": sources,
            });
            serde_json::from_value(json).unwrap()
        };
        let source = json!({ "/live": { "since_unix_s": 7, "content_type": "audio/mpeg" } });
        let mount = MountRecord::new(path.clone(), "source", "x".into());
        Snapshot {
            revision: 9,
            mounts: [(path.clone(), Arc::new(mount))].into(),
            nodes: ["a", "b"].map(|it| (name(it), Arc::new(node(it)))).into(),
            masters: [(path, Master { node: name("a"), epoch: 5 })].into(),
            loads: [(name("a"), load(5, json!({}))), (name("b"), load(2, source))]
                .map(|(node, load)| (node, Arc::new(load)))
                .into(),
            draining: [name("b"), name("gone")].into(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_status_counts_listeners_by_mount_and_node() {
        let snapshot = snapshot();
        let shown = status(&snapshot, &place(&snapshot));
        assert_eq!((shown.listeners, shown.domain.as_deref()), (7, Some("radio.test")));
        let mount = &shown.mounts[0];
        assert_eq!(
            (mount.master.as_deref(), mount.epoch, mount.listeners),
            (Some("a"), Some(5), 7)
        );
        assert_eq!(mount.listeners_by_node, BTreeMap::from([("a".into(), 5), ("b".into(), 2)]));
        let source = mount.source.as_ref().unwrap();
        assert_eq!((source.node.as_str(), source.since_unix_s), ("b", 7));
    }

    #[test]
    fn nodes_show_their_state_even_when_only_their_draining_is_left() {
        let snapshot = snapshot();
        let shown = nodes(&snapshot, &place(&snapshot));
        let states: Vec<_> = shown.iter().map(|node| (node.name.as_str(), node.state)).collect();
        assert_eq!(states, [("a", "up"), ("b", "draining"), ("gone", "down")]);
        assert!((shown[0].utilisation - 0.5).abs() < 1e-9, "5 of 10 listeners count more");
        assert_eq!((shown[0].masters, shown[0].sources, shown[1].sources), (1, 0, 1));
    }
}
