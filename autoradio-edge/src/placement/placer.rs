//! The placer: turns snapshots into placements, with a memory of what it has seen and given before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::utilisation::Meter;
use super::weights::{self, Pace, WEIGHT_QUANTUM};
use super::{Ledger, PlacedNode, Placement, WEIGHT_FULL, place_mounts};
use crate::cluster::{Capacity, NodeName, NodeRecord, Snapshot};

/// How long a node that is gone counts as part of the cluster, in milliseconds. Later it is taken for retired.
const MEMORY_MS: u64 = 600_000;

/// Places snapshots one after the other.
///
/// Weights follow headroom times capacity, damped. **Fail open**: if nobody has headroom, or less than half of the capacity
/// seen in the last ten minutes is up, all nodes that do not drain weigh the same; if all drain, all do. A crowd that
/// lost most of its cluster is served badly somewhere rather than well nowhere.
#[derive(Clone, Debug, Default)]
pub struct Placer {
    seen: BTreeMap<NodeName, Seen>,
    pace: Pace,
    failing_open: bool,
}

/// A node as it was seen last.
#[derive(Clone, Debug)]
struct Seen {
    capacity: Capacity,
    at_ms: u64,
    full: bool,
    /// `None` before it is placed for the first time.
    weight: Option<u32>,
}

impl Placer {
    /// Places a snapshot at `now_ms`, any clock that never goes back. Weights move on about once a second, however often this is
    /// called; what drains, is full or is gone weighs nothing at once.
    pub fn place(&mut self, snapshot: &Snapshot, now_ms: u64, ledger: &Ledger) -> Placement {
        self.look(snapshot, now_ms);
        let meter = Meter::of_snapshot(snapshot);
        let carried = self.seen.values().map(|seen| meter.carries(&seen.capacity));
        let scale = carried.max().unwrap_or(1);
        let moment = Moment { snapshot, ledger, meter, scale, step: self.pace.step(now_ms) };
        let mut targets = Vec::with_capacity(snapshot.nodes.len());
        let place_node = |(name, record): (&NodeName, &Arc<NodeRecord>)| {
            let (node, target) = moment.place_node(name, record, &self.seen[name]);
            targets.push(target);
            (name.clone(), node)
        };
        let mut nodes: BTreeMap<_, _> = snapshot.nodes.iter().map(place_node).collect();
        // Asked of the targets: a weight of zero may just be on its way up.
        self.failing_open =
            targets.iter().all(|target| *target == 0) || !self.half_is_up(&nodes, meter);
        if self.failing_open {
            fail_open(&mut nodes);
        } else if nodes.values().all(|node| node.weight == 0) {
            let begin =
                |(node, target): (&mut PlacedNode, u32)| node.weight = target.min(WEIGHT_QUANTUM);
            nodes.values_mut().zip(targets).for_each(begin);
        }
        self.remember(&nodes);
        Placement {
            revision: snapshot.revision,
            nodes,
            mounts: place_mounts(snapshot),
            streams: snapshot.streams.clone(),
            admin: snapshot.admin.clone(),
        }
    }

    /// Whether the last placement gave all nodes the same weight, because too few were left to choose from.
    pub fn is_failing_open(&self) -> bool {
        self.failing_open
    }

    /// Notes who lives, and forgets who has been gone for long.
    fn look(&mut self, snapshot: &Snapshot, now_ms: u64) {
        for (name, record) in &snapshot.nodes {
            let capacity = record.capacity;
            if let Some(seen) = self.seen.get_mut(name) {
                (seen.capacity, seen.at_ms) = (capacity, now_ms);
            } else {
                let seen = Seen { capacity, at_ms: now_ms, full: false, weight: None };
                self.seen.insert(name.clone(), seen);
            }
        }
        self.seen.retain(|_, seen| now_ms.saturating_sub(seen.at_ms) < MEMORY_MS);
    }

    fn half_is_up(&self, nodes: &BTreeMap<NodeName, PlacedNode>, meter: Meter) -> bool {
        let known: u64 = self.seen.values().map(|seen| meter.carries(&seen.capacity)).sum();
        let up: u64 = nodes.values().map(|node| meter.carries(&node.record.capacity)).sum();
        up.saturating_mul(2) >= known
    }

    /// A node that is gone starts from nothing when it comes back.
    fn remember(&mut self, nodes: &BTreeMap<NodeName, PlacedNode>) {
        for (name, seen) in &mut self.seen {
            let placed = nodes.get(name);
            seen.weight = Some(placed.map_or(0, |node| node.weight));
            seen.full = placed.is_some_and(|node| node.full);
        }
    }
}

/// What all nodes of one placement are judged by.
struct Moment<'a> {
    snapshot: &'a Snapshot,
    ledger: &'a Ledger,
    meter: Meter,
    /// What the largest node carries.
    scale: u64,
    /// How far weights may move.
    step: u32,
}

impl Moment<'_> {
    /// The node, and the weight that its own is on the way to.
    fn place_node(
        &self,
        name: &NodeName,
        record: &Arc<NodeRecord>,
        seen: &Seen,
    ) -> (PlacedNode, u32) {
        let load = self.snapshot.loads.get(name).cloned();
        let usage = self.meter.usage(load.as_deref(), self.ledger.assigned(name));
        let used = usage.share_of(&record.capacity);
        let full = weights::is_full(used, seen.full);
        let draining = self.snapshot.draining.contains(name);
        let target = if full || draining {
            0
        } else {
            weights::target(self.meter.room(&record.capacity, used), self.scale)
        };
        let damped = |before| weights::damped(before, target, self.step);
        let weight = seen.weight.map_or(target, damped);
        (PlacedNode { record: record.clone(), weight, draining, full, load }, target)
    }
}

/// The same weight for all nodes that do not drain; if all drain, for all.
fn fail_open(nodes: &mut BTreeMap<NodeName, PlacedNode>) {
    let all_draining = nodes.values().all(|node| node.draining);
    for node in nodes.values_mut() {
        node.weight = if node.draining && !all_draining { 0 } else { WEIGHT_FULL };
    }
}

#[cfg(test)]
#[path = "placer_tests.rs"]
mod tests;
