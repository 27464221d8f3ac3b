//! Which node should be master of a mount: weighted rendezvous hashing. Pure.
//!
//! Each node has a score for each mount, and the best score wins. Nodes' scores do not depend on each other: a node that
//! goes leaves only its own mounts to others, a node that comes takes mounts only to itself, and shares follow weights.
//! All nodes of a cluster must agree, versions too: the hash is written out here and never changes.

use crate::cluster::{Candidate, MountPath, NodeName, Preference, Snapshot};

/// The preference that nodes of a cluster share.
pub const PREFERENCE: Preference = Preference { candidates, rank };

/// The nodes that may become masters: alive, not draining, not full. If there is none, the full ones too, and those that
/// drain only where every node does: a drain must end also in a cluster that is full.
///
/// The weight is a node's capacity and not its load: two nodes may have heard different loads, yet must rank alike.
pub fn candidates(snapshot: &Snapshot) -> Vec<Candidate> {
    let all = || {
        snapshot.nodes.values().map(|record| Candidate {
            name: record.name.clone(),
            weight: record.capacity.listeners.max(1),
            seed: fnv1a(record.name.as_str().as_bytes()),
        })
    };
    let stays = |candidate: &Candidate| !snapshot.draining.contains(&candidate.name);
    let has_room = |candidate: &Candidate| !is_full(snapshot, &candidate.name);
    let mut candidates: Vec<Candidate> = all().filter(|it| stays(it) && has_room(it)).collect();
    if candidates.is_empty() {
        candidates = all().filter(stays).collect();
    }
    if candidates.is_empty() {
        candidates = all().collect();
    }
    // Equal weights side by side: `rank` computes one threshold for each run of them.
    candidates.sort_unstable_by(|a, b| (a.weight, &a.name).cmp(&(b.weight, &b.name)));
    candidates
}

fn is_full(snapshot: &Snapshot, name: &NodeName) -> bool {
    let (Some(record), Some(load)) = (snapshot.nodes.get(name), snapshot.loads.get(name)) else {
        return false;
    };
    let capacity = record.capacity;
    load.listeners >= u64::from(capacity.listeners)
        || load.bits_per_second >= capacity.bits_per_second
}

/// How many of `candidates` should rather be master of `mount` than `own`, which is one of them. Counts to `max` and no
/// further: with ten thousand mounts and a thousand nodes at one time, who is far behind is soon known.
///
/// A score is `w / -ln(u)` with `u` in (0, 1] drawn by hash. Node `i` beats ours exactly if `u_i > u_own ^ (w_i / w_own)`,
/// so there is one power to compute for each different weight and none where weights are equal.
pub fn rank(candidates: &[Candidate], own: &Candidate, mount: &MountPath, max: usize) -> usize {
    let mount = fnv1a(mount.as_str().as_bytes());
    let own_draw = draw(mount, own.seed);
    let mut better = 0;
    for run in candidates.chunk_by(|a, b| a.weight == b.weight) {
        let threshold = threshold(own_draw, own.weight, run[0].weight);
        let beats = |candidate: &&Candidate| {
            let drawn = draw(mount, candidate.seed);
            // Two names may share a draw, once in an age: the name decides then.
            drawn > threshold
                || (drawn == threshold && candidate.name < own.name && run[0].weight == own.weight)
        };
        better += run.iter().filter(beats).take(max - better).count();
        if better == max {
            break;
        }
    }
    better
}

/// The draw that a node of weight `other` must exceed to beat `own_draw` of weight `own`.
#[expect(clippy::cast_precision_loss, reason = "2^-53 of a difference decides nothing")]
fn threshold(own_draw: u64, own: u32, other: u32) -> u64 {
    if own == other {
        return own_draw;
    }
    let range = 2_f64.powi(64);
    let uniform = (own_draw as f64 + 1.0) / range;
    (uniform.powf(f64::from(other) / f64::from(own)) * range) as u64
}

/// The draw of a node for a mount, from the hashes of their names: the finaliser of `splitmix64` over both.
fn draw(mount: u64, node: u64) -> u64 {
    let mut mixed = mount ^ node.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{LoadRecord, NodeRecord};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn node(name: &str, listeners: u32) -> Arc<NodeRecord> {
        let json = serde_json::json!({
            "schema": 1, "name": name, "domain": "radio.test", "addresses": ["192.0.2.1"],
            "peer_address": "192.0.2.1", "http_port": 80, "icecast_port": 8000, "version": "0",
            "capacity": {"listeners": listeners, "bits_per_second": 1_000_000},
        });
        Arc::new(serde_json::from_value(json).expect("a node"))
    }

    fn snapshot(nodes: &[(String, u32)]) -> Snapshot {
        let named = |(name, weight): &(String, u32)| {
            let record = node(name, *weight);
            (record.name.clone(), record)
        };
        Snapshot { nodes: nodes.iter().map(named).collect(), ..Snapshot::default() }
    }

    fn nodes(weights: &[u32]) -> Vec<(String, u32)> {
        weights.iter().enumerate().map(|(n, weight)| (format!("node{n}"), *weight)).collect()
    }

    fn mount(number: usize) -> MountPath {
        format!("/mount{number}.mp3").parse().expect("a mount path")
    }

    /// The winner of a mount: the one who ranks itself first.
    fn winner(nodes: &[(String, u32)], mount: &MountPath) -> String {
        let candidates = candidates(&snapshot(nodes));
        let first = |it: &&Candidate| rank(&candidates, it, mount, 1) == 0;
        let mut winners = candidates.iter().filter(first);
        let winner = winners.next().expect("somebody wins").name.to_string();
        assert!(winners.next().is_none(), "one winner of {mount}");
        winner
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_lost_node_moves_only_its_own_mounts(
            weights in prop::collection::vec(1_u32..5_000, 2..8), lost in 0_usize..8,
        ) {
            let all = nodes(&weights);
            let lost = lost % all.len();
            let mut fewer = all.clone();
            let (lost, _) = fewer.remove(lost);
            for number in 0..40 {
                let before = winner(&all, &mount(number));
                let after = winner(&fewer, &mount(number));
                // The same law read backwards: a node that comes takes mounts only to itself.
                prop_assert!(before == after || before == lost);
            }
        }

        #[test]
        fn every_rank_is_taken_once(weights in prop::collection::vec(1_u32..3_000, 1..9)) {
            let candidates = candidates(&snapshot(&nodes(&weights)));
            for number in 0..10 {
                let mut ranks: Vec<_> = candidates
                    .iter()
                    .map(|it| rank(&candidates, it, &mount(number), usize::MAX))
                    .collect();
                ranks.sort_unstable();
                prop_assert_eq!(ranks, (0..weights.len()).collect::<Vec<_>>());
                for it in &candidates {
                    let rank = |max| rank(&candidates, it, &mount(number), max);
                    prop_assert_eq!(rank(2), rank(usize::MAX).min(2));
                }
            }
        }
    }

    #[test]
    fn shares_follow_weights() {
        let all = nodes(&[1_000, 1_000, 2_000, 4_000]);
        let mut won = [0_u32; 4];
        for number in 0..8_000 {
            let winner = winner(&all, &mount(number));
            won[winner[4..].parse::<usize>().expect("a number")] += 1;
        }
        let expected = [1_000.0, 1_000.0, 2_000.0, 4_000.0];
        let chi_square: f64 = won
            .iter()
            .zip(expected)
            .map(|(won, expected)| (f64::from(*won) - expected).powi(2) / expected)
            .sum();
        // Three degrees of freedom: above 16.27 once in a thousand; the hash is fixed, so this is not left to luck.
        assert!(chi_square < 16.27, "{won:?}: {chi_square}");
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(draw(fnv1a(b"/live.mp3"), fnv1a(b"node1")), 0x51db_01ec_d261_29d6);
    }

    #[test]
    fn draining_and_full_nodes_are_candidates_only_when_there_is_no_other() {
        let mut snapshot = snapshot(&nodes(&[10, 10, 10]));
        let names = |snapshot: &Snapshot| {
            candidates(snapshot).iter().map(|it| it.name.to_string()).collect::<Vec<_>>()
        };
        let name = |name: &str| -> NodeName { name.parse().expect("a name") };
        snapshot.draining.insert(name("node0"));
        let full = LoadRecord { listeners: 10, ..LoadRecord::idle() };
        snapshot.loads.insert(name("node1"), Arc::new(full));
        assert_eq!(names(&snapshot), ["node2"]);
        let busy = LoadRecord { bits_per_second: 1_000_000, ..LoadRecord::idle() };
        snapshot.loads.insert(name("node2"), Arc::new(busy));
        assert_eq!(names(&snapshot), ["node1", "node2"], "full ones before one that drains");
        snapshot.draining.extend([name("node1"), name("node2")]);
        assert_eq!(names(&snapshot), ["node0", "node1", "node2"], "fail open");
    }
}
