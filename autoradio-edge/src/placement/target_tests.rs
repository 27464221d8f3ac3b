//! Tests of where listeners go.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::cluster::{LoadRecord, NodeRecord, Snapshot};
use crate::placement::Placer;
use crate::placement::tests::record;

/// What this node can carry at most, its reserve included: 125 where its record says 100.
const WHOLE: Capacity = Capacity { listeners: 125, bits_per_second: u64::MAX };

fn name(index: usize) -> NodeName {
    format!("node{index}").parse().expect("name")
}

/// Nodes that may carry so many listeners and do carry so many; node0 is this one.
fn snapshot(nodes: &[(u32, u64)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (index, (capacity, listeners)) in nodes.iter().enumerate() {
        let mut node = NodeRecord::clone(&record(&format!("node{index}"), "198.18.0.1"));
        node.capacity = Capacity { listeners: *capacity, bits_per_second: u64::MAX };
        let load = LoadRecord { listeners: *listeners, ..LoadRecord::idle() };
        snapshot.loads.insert(node.name.clone(), Arc::new(load));
        snapshot.nodes.insert(node.name.clone(), Arc::new(node));
    }
    snapshot
}

fn placed(snapshot: &Snapshot) -> Placement {
    Placer::default().place(snapshot, 0, &Ledger::default())
}

/// Where a listener goes from node0, for draws from the whole range.
fn targets(placement: &Placement) -> Vec<Target> {
    let own = name(0);
    let own = Own { name: &own, capacity_whole: &WHOLE };
    let draws = [0, u64::MAX / 2, u64::MAX];
    draws.map(|draw| placement.target(own, draw, &Ledger::default())).to_vec()
}

fn landed(placement: &Placement) -> Target {
    let own = name(0);
    placement.landed(Own { name: &own, capacity_whole: &WHOLE }, &Ledger::default())
}

fn to(indices: [usize; 3]) -> Vec<Target> {
    indices.map(|index| Target::Redirect(name(index))).to_vec()
}

#[test]
fn a_listener_stays_where_there_is_headroom_and_goes_where_there_is_more_otherwise() {
    let here = || vec![Target::Here; 3];
    for (why, nodes, draining, want) in [
        ("headroom here", vec![(100, 99), (900, 0)], vec![], here()),
        ("full here", vec![(100, 100), (100, 99), (100, 0)], vec![], to([2, 2, 2])),
        ("full here, two are equal", vec![(100, 100), (100, 0), (100, 0)], vec![], to([1, 1, 2])),
        ("draining here", vec![(100, 0), (100, 50)], vec![0], to([1, 1, 1])),
        ("the other drains", vec![(100, 100), (100, 0)], vec![1], here()),
        ("all full: the reserve", vec![(100, 124), (100, 100)], vec![], here()),
        (
            "all full, no reserve left",
            vec![(100, 125), (100, 100)],
            vec![],
            vec![Target::Refuse; 3],
        ),
        ("draining here, others full", vec![(100, 0), (100, 100)], vec![0], to([1, 1, 1])),
        ("all drain", vec![(100, 0), (100, 0)], vec![0, 1], here()),
    ] {
        let mut snapshot = snapshot(&nodes);
        snapshot.draining = draining.into_iter().map(name).collect();
        let got = targets(&placed(&snapshot));
        // Of the many draws that mean the node with all the room, the first means the one with least.
        let got = if why == "full here" { got[1..].to_vec() } else { got };
        let want = if why == "full here" { want[1..].to_vec() } else { want };
        assert_eq!(got, want, "{why}");
    }
}

#[test]
fn a_node_that_the_cluster_takes_for_dead_serves_whoever_comes() {
    let mut snapshot = snapshot(&[(100, 0), (100, 0)]);
    snapshot.nodes.remove(&name(0));
    assert_eq!(targets(&placed(&snapshot)), vec![Target::Here; 3]);
    assert_eq!(landed(&placed(&snapshot)), Target::Here);
}

#[test]
fn a_listener_who_was_sent_stays_or_is_refused() {
    for (why, nodes, draining, want) in [
        ("headroom", vec![(100, 0), (100, 0)], vec![], Target::Here),
        ("the reserve is for this too", vec![(100, 124), (100, 0)], vec![], Target::Here),
        ("really full", vec![(100, 125), (100, 0)], vec![], Target::Refuse),
        ("draining", vec![(100, 0), (100, 0)], vec![0], Target::Refuse),
        ("all drain", vec![(100, 0), (100, 0)], vec![0, 1], Target::Here),
    ] {
        let mut snapshot = snapshot(&nodes);
        snapshot.draining = draining.into_iter().map(name).collect();
        assert_eq!(landed(&placed(&snapshot)), want, "{why}");
    }
}

/// Sends `crowd` listeners from node0 within one heartbeat, with evenly spread draws; how many each node got.
fn spread(nodes: &[(u32, u64)], crowd: u64) -> BTreeMap<NodeName, u64> {
    let (snapshot, own) = (snapshot(nodes), name(0));
    let placement = placed(&snapshot);
    let mut ledger = Ledger::default();
    ledger.note_reports(&snapshot.loads, 0);
    let mut got: BTreeMap<NodeName, u64> = BTreeMap::new();
    let mut draw = 0_u64;
    for _ in 0..crowd {
        // Multiples of the golden ratio fill the range evenly.
        draw = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let own = Own { name: &own, capacity_whole: &WHOLE };
        let node = match placement.target(own, draw, &ledger) {
            Target::Here => own.name.clone(),
            Target::Redirect(node) => node,
            Target::Refuse => continue,
        };
        ledger.assign(&node, 500);
        *got.entry(node).or_default() += 1;
    }
    got
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_thousand_listeners_of_one_heartbeat_are_spread_by_headroom_and_never_beyond_it(
        others in prop::collection::vec((1_000..3_000u32, 0..2_000u64), 2..8),
    ) {
        let nodes: Vec<_> = std::iter::once((100, 100)).chain(others).collect();
        let room = |(capacity, listeners): &(u32, u64)| u64::from(*capacity).saturating_sub(*listeners);
        let total: u64 = nodes.iter().map(room).sum();
        prop_assume!(total > 1_000);
        let got = spread(&nodes, 1_000);
        prop_assert_eq!(got.values().sum::<u64>(), 1_000);
        for (index, node) in nodes.iter().enumerate() {
            let got = got.get(&name(index)).copied().unwrap_or(0);
            prop_assert!(got <= room(node), "node{}: {} of {}", index, got, room(node));
            // In proportion, to within four deviations of fair draws.
            let fair = 1_000 * room(node) / total;
            let off = got.abs_diff(fair);
            prop_assert!(off * off <= 16 * fair + 100, "node{index}: {got}, fair {fair}");
        }
    }

    #[test]
    fn nobody_gets_more_than_headroom_while_others_have_some(
        rooms in prop::collection::vec(0..400u64, 1..6),
    ) {
        // Everybody's room is less than the crowd: all of it is used before anybody's reserve.
        let nodes: Vec<_> =
            std::iter::once((100, 100)).chain(rooms.iter().map(|room| (400, 400 - room))).collect();
        let total: u64 = rooms.iter().sum();
        let got = spread(&nodes, total);
        for (index, room) in rooms.iter().enumerate() {
            prop_assert_eq!(got.get(&name(index + 1)).copied().unwrap_or(0), *room);
        }
        prop_assert_eq!(got.get(&name(0)), None);
    }
}
