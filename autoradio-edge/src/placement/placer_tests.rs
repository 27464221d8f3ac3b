//! Tests of the placer.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::cluster::LoadRecord;
use crate::placement::tests::record;
use crate::placement::{WEIGHT_QUANTUM, WEIGHT_STEP_PER_S};

/// A cluster whose nodes may carry `capacities` listeners and do carry `loads`.
fn cluster(capacities: &[u32], loads: &[u64]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (index, capacity) in capacities.iter().enumerate() {
        let mut node = NodeRecord::clone(&record(&format!("node{index}"), "198.18.0.1"));
        node.capacity = Capacity { listeners: *capacity, bits_per_second: u64::MAX };
        let load = LoadRecord {
            sequence: 1,
            listeners: loads[index],
            bits_per_second: loads[index] * 128_000,
            ..LoadRecord::idle()
        };
        snapshot.loads.insert(node.name.clone(), Arc::new(load));
        snapshot.nodes.insert(node.name.clone(), Arc::new(node));
    }
    snapshot
}

fn name(index: usize) -> NodeName {
    format!("node{index}").parse().expect("name")
}

fn weights(placement: &Placement) -> Vec<u32> {
    placement.nodes.values().map(|node| node.weight).collect()
}

fn placed(placer: &mut Placer, snapshot: &Snapshot, now_ms: u64) -> Vec<u32> {
    weights(&placer.place(snapshot, now_ms, &Ledger::default()))
}

#[test]
fn a_node_seen_for_the_first_time_weighs_its_headroom_times_its_capacity() {
    for (why, capacities, loads, want) in [
        ("all idle", [100, 200, 400], [0, 0, 0], [250, 500, 1_000]),
        ("half used", [400, 400, 400], [0, 200, 300], [1_000, 500, 250]),
        ("one full", [400, 400, 400], [0, 400, 500], [1_000, 0, 0]),
        ("hardly any room", [400, 400, 10_000], [399, 0, 0], [1, 40, 1_000]),
    ] {
        let snapshot = cluster(&capacities, &loads);
        assert_eq!(placed(&mut Placer::default(), &snapshot, 0), want, "{why}");
    }
}

#[test]
fn weights_follow_the_load_by_one_step_a_second_however_often_they_are_asked_for() {
    let mut placer = Placer::default();
    assert_eq!(placed(&mut placer, &cluster(&[100, 100], &[0, 0]), 0), [1_000, 1_000]);
    let loaded = cluster(&[100, 100], &[50, 0]);
    let seen =
        [50, 500, 1_000, 1_050, 2_000, 2_900].map(|now| placed(&mut placer, &loaded, now)[0]);
    assert_eq!(seen, [1_000, 1_000, 900, 900, 800, 710]);
    assert_eq!(placed(&mut placer, &loaded, 60_000), [500, 1_000]);
}

#[test]
fn a_trickle_of_listeners_moves_no_weight() {
    let mut placer = Placer::default();
    placed(&mut placer, &cluster(&[1_000, 1_000], &[0, 0]), 0);
    let few = u64::from(WEIGHT_QUANTUM) - 1;
    assert_eq!(placed(&mut placer, &cluster(&[1_000, 1_000], &[few, 0]), 5_000), [1_000, 1_000]);
    assert_eq!(placed(&mut placer, &cluster(&[1_000, 1_000], &[few + 1, 0]), 6_000), [990, 1_000]);
}

#[test]
fn what_drains_is_full_or_comes_back_weighs_nothing_at_once() {
    let mut placer = Placer::default();
    let idle = cluster(&[100, 100, 100], &[0, 0, 0]);
    assert_eq!(placed(&mut placer, &idle, 0), [1_000, 1_000, 1_000]);
    let mut draining = idle.clone();
    draining.draining.insert(name(0));
    assert_eq!(placed(&mut placer, &draining, 1), [0, 1_000, 1_000]);
    assert_eq!(placed(&mut placer, &idle, 2), [0, 1_000, 1_000], "and comes back step by step");
    assert_eq!(placed(&mut placer, &idle, 1_002)[0], WEIGHT_STEP_PER_S);
    let full = cluster(&[100, 100, 100], &[0, 100, 0]);
    assert_eq!(placed(&mut placer, &full, 1_003), [100, 0, 1_000]);
    let mut gone = idle.clone();
    gone.nodes.remove(&name(2));
    assert_eq!(placed(&mut placer, &gone, 1_004), [100, 0]);
    assert_eq!(placed(&mut placer, &idle, 1_005), [100, 0, 0], "it was gone");
}

#[test]
fn a_full_node_does_not_flap() {
    let mut placer = Placer::default();
    let full = |placer: &mut Placer, listeners, now_ms| {
        let snapshot = cluster(&[100, 100], &[listeners, 0]);
        placer.place(&snapshot, now_ms, &Ledger::default()).nodes[&name(0)].full
    };
    let seen: Vec<bool> =
        [99, 100, 97, 95, 94, 99].into_iter().map(|load| full(&mut placer, load, 0)).collect();
    assert_eq!(seen, [false, true, true, true, false, false]);
}

#[test]
fn a_crowd_that_is_on_its_way_counts_before_it_is_reported() {
    let mut ledger = Ledger::default();
    let snapshot = cluster(&[100, 100], &[0, 0]);
    ledger.note_reports(&snapshot.loads, 0);
    (0..50).for_each(|_| ledger.assign(&name(0), 10));
    let placement = Placer::default().place(&snapshot, 20, &ledger);
    assert_eq!(weights(&placement), [500, 1_000]);
}

#[test]
fn all_weigh_the_same_when_nobody_has_room_or_most_of_the_cluster_is_gone() {
    let mut placer = Placer::default();
    let full = cluster(&[100, 100, 100], &[100, 150, 900]);
    assert_eq!(placed(&mut placer, &full, 0), [1_000, 1_000, 1_000], "everybody is full");
    assert!(placer.is_failing_open());
    let mut draining = full.clone();
    draining.draining.insert(name(1));
    assert_eq!(
        placed(&mut placer, &draining, 1),
        [1_000, 0, 1_000],
        "one drains, the rest is full"
    );
    draining.draining.extend([name(0), name(2)]);
    assert_eq!(placed(&mut placer, &draining, 2), [1_000, 1_000, 1_000], "all drain");

    let mut placer = Placer::default();
    let five = cluster(&[100; 5], &[0, 90, 0, 0, 0]);
    placed(&mut placer, &five, 0);
    let mut left = five.clone();
    left.nodes.retain(|node, _| *node < name(3));
    left.draining.insert(name(2));
    assert_eq!(placed(&mut placer, &left, 1), [1_000, 100, 0], "three of five are up");
    left.nodes.remove(&name(2));
    assert_eq!(placed(&mut placer, &left, 2), [1_000, 1_000], "two of five are up");
    assert!(placer.is_failing_open());
    assert_eq!(placed(&mut placer, &left, 599_999), [1_000, 1_000]);
    assert_eq!(placed(&mut placer, &left, 600_002), [1_000, 1_000]);
    assert!(!placer.is_failing_open(), "who has been gone for ten minutes is not expected back");
    assert_eq!(placed(&mut placer, &left, 700_000), [1_000, 100]);
}

#[test]
fn a_node_that_comes_back_takes_over_from_full_ones_at_once() {
    let mut placer = Placer::default();
    let cluster = cluster(&[100, 100], &[100, 0]);
    let mut alone = cluster.clone();
    alone.nodes.remove(&name(1));
    placed(&mut placer, &cluster, 0);
    assert_eq!(placed(&mut placer, &alone, 1), [1_000], "nobody else is left");
    let mut full = cluster.clone();
    full.draining.insert(name(1));
    assert_eq!(placed(&mut placer, &full, 2), [1_000, 0], "nobody else takes any");
    assert_eq!(placed(&mut placer, &cluster, 3), [0, WEIGHT_QUANTUM], "the full one is spared");
    assert!(!placer.is_failing_open());
    assert_eq!(placed(&mut placer, &cluster, 2_003), [0, WEIGHT_QUANTUM + 2 * WEIGHT_STEP_PER_S]);
}

/// Something happens to one node, or just time passes.
#[derive(Clone, Debug)]
enum Change {
    Load(usize, u64),
    Drain(usize),
    Undrain(usize),
    Gone(usize),
    Back(usize),
    Time(u64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..5usize, 0..150u64).prop_map(|(node, load)| Change::Load(node, load)),
        (0..5usize).prop_map(Change::Drain),
        (0..5usize).prop_map(Change::Undrain),
        (0..5usize).prop_map(Change::Gone),
        (0..5usize).prop_map(Change::Back),
        (0..3_000u64).prop_map(Change::Time),
    ]
}

impl Change {
    fn apply(&self, snapshot: &mut Snapshot, all: &Snapshot, now_ms: &mut u64) {
        match self {
            Self::Load(node, listeners) => {
                let load = LoadRecord { listeners: *listeners, ..LoadRecord::idle() };
                snapshot.loads.insert(name(*node), Arc::new(load));
            }
            Self::Drain(node) => drop(snapshot.draining.insert(name(*node))),
            Self::Undrain(node) => drop(snapshot.draining.remove(&name(*node))),
            Self::Gone(node) => drop(snapshot.nodes.remove(&name(*node))),
            Self::Back(node) => {
                snapshot.nodes.insert(name(*node), all.nodes[&name(*node)].clone());
            }
            Self::Time(passed_ms) => *now_ms += passed_ms,
        }
    }
}

proptest! {
    #[test]
    fn weights_are_never_all_zero_and_never_move_by_more_than_a_step_a_second(
        changes in prop::collection::vec(change(), 1..60),
    ) {
        let all = cluster(&[100; 5], &[0; 5]);
        let (mut snapshot, mut now_ms, mut before_ms) = (all.clone(), 0, 0);
        let mut placer = Placer::default();
        let mut before = placer.place(&snapshot, 0, &Ledger::default());
        for change in changes {
            change.apply(&mut snapshot, &all, &mut now_ms);
            let after = placer.place(&snapshot, now_ms, &Ledger::default());
            let open = placer.is_failing_open();
            prop_assert!(after.nodes.is_empty() || after.nodes.values().any(|node| node.weight > 0));
            let moved = |(node, placed): (&NodeName, &PlacedNode)| {
                let weight = before.nodes.get(node)?.weight;
                (placed.weight > 0).then(|| weight.abs_diff(placed.weight))
            };
            let furthest = after.nodes.iter().filter_map(moved).max().unwrap_or(0);
            let nobody_has_room = after.nodes.values().all(|node| node.draining || node.full);
            prop_assert_eq!(open, nobody_has_room || after.nodes.len() < 3, "{:?}", after.nodes);
            if open {
                let all_drain = after.nodes.values().all(|node| node.draining);
                for node in after.nodes.values() {
                    let want = if node.draining && !all_drain { 0 } else { WEIGHT_FULL };
                    prop_assert_eq!(node.weight, want);
                }
            } else {
                // Weights may not have moved yet for the second that ends now.
                let elapsed_ms = now_ms - before_ms + 1_000;
                let step = u64::from(WEIGHT_STEP_PER_S) * elapsed_ms / 1_000;
                prop_assert!(u64::from(furthest) <= step, "{furthest} in {elapsed_ms} ms");
            }
            (before, before_ms) = (after, now_ms);
        }
    }
}
