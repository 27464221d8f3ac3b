//! Where a listener goes who has come to this node.

use super::utilisation::{Meter, WHOLE_PPM};
use super::{Ledger, PlacedNode, Placement};
use crate::cluster::{Capacity, NodeName};

/// Where a listener is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// By this node.
    Here,
    /// By another one.
    Redirect(NodeName),
    /// By nobody at this moment.
    Refuse,
}

/// The node that decides.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// Its name.
    pub name: &'a NodeName,
    /// All that it can carry, with the reserve that its record leaves out.
    pub capacity_whole: &'a Capacity,
}

impl Placement {
    /// Where a listener goes who has just come: here, if this node has headroom and does not drain; else to a node drawn by
    /// its headroom. `draw` is uniform over all numbers.
    ///
    /// Where nobody has headroom, the reserve is used up here; where this node drains, at any node that does not. Refused is who
    /// would find neither.
    pub fn target(&self, own: Own<'_>, draw: u64, ledger: &Ledger) -> Target {
        let judge = Judge { meter: self.meter(), ledger };
        // Whoever is asked lives, whatever the cluster thinks of its lease.
        let Some(here) = self.nodes.get(own.name) else { return Target::Here };
        if !here.draining && judge.room(own.name, here) > 0 {
            return Target::Here;
        }
        let others =
            || self.nodes.iter().filter(|(name, node)| *name != own.name && !node.draining);
        let by_room = others().map(|(name, node)| (name, judge.room(name, node)));
        if let Some(node) = drawn(by_room, draw) {
            return Target::Redirect(node.clone());
        }
        if here.draining
            && let Some(node) = drawn(others().map(|(name, _)| (name, 1)), draw)
        {
            return Target::Redirect(node.clone());
        }
        // What is left: everybody is full, or everybody drains.
        judge.last_resort(own, here)
    }

    /// Whether a listener is served here whom another node has sent: never [`Target::Redirect`].
    ///
    /// The reserve is used for it: the sender saw headroom, and a listener is not sent twice.
    pub fn landed(&self, own: Own<'_>, ledger: &Ledger) -> Target {
        let judge = Judge { meter: self.meter(), ledger };
        let Some(here) = self.nodes.get(own.name) else { return Target::Here };
        if here.draining && self.nodes.values().any(|node| !node.draining) {
            return Target::Refuse;
        }
        judge.last_resort(own, here)
    }

    fn meter(&self) -> Meter {
        Meter::of(self.nodes.values().filter_map(|node| node.load.as_deref()))
    }
}

struct Judge<'a> {
    meter: Meter,
    ledger: &'a Ledger,
}

impl Judge<'_> {
    fn used_ppm(&self, name: &NodeName, node: &PlacedNode, capacity: &Capacity) -> u64 {
        self.meter.usage(node.load.as_deref(), self.ledger.assigned(name)).share_of(capacity)
    }

    /// How many more listeners the node takes before it is full.
    fn room(&self, name: &NodeName, node: &PlacedNode) -> u64 {
        let capacity = &node.record.capacity;
        if node.full { 0 } else { self.meter.room(capacity, self.used_ppm(name, node, capacity)) }
    }

    /// Here, as long as this node can carry one more at all.
    fn last_resort(&self, own: Own<'_>, here: &PlacedNode) -> Target {
        let used_ppm = self.used_ppm(own.name, here, own.capacity_whole);
        if used_ppm < WHOLE_PPM { Target::Here } else { Target::Refuse }
    }
}

/// The candidate that a uniform `draw` means, each as often as its share of all weights; `None` where nothing has weight.
fn drawn<'a>(
    candidates: impl Iterator<Item = (&'a NodeName, u64)>,
    draw: u64,
) -> Option<&'a NodeName> {
    let candidates: Vec<_> = candidates.collect();
    let total: u128 = candidates.iter().map(|(_, weight)| u128::from(*weight)).sum();
    // Below `total`, since `draw` is below 2^64.
    let mut point = (u128::from(draw) * total) >> u64::BITS;
    for (name, weight) in candidates {
        let weight = u128::from(weight);
        if point < weight {
            return Some(name);
        }
        point -= weight;
    }
    None
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
