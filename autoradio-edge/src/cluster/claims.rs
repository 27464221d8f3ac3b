//! Which masterships this node asks for and when, which it gives back, and which it hands over. Pure.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::{MountPath, NodeName, Snapshot};

/// Head start of each rank over the next: time for a claim to be made and to become known.
const RANK_DELAY: Duration = Duration::from_millis(300);
/// What a transaction of claims takes where etcd is slow: of thousands of orphans the last ones need more time than the
/// head start of a rank, and should not be taken from whom everybody prefers meanwhile.
const TRANSACTION_TIME: Duration = Duration::from_millis(20);
/// Ranks above this one wait no longer than it: when ten nodes have not claimed, something other than order is wrong.
const RANK_MAX: usize = 10;
/// Time for a claim that was made to show in a snapshot, before it is made again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Claims in one transaction; etcd takes 128 operations by default.
pub(super) const CLAIMS_PER_TRANSACTION: usize = 64;

/// A node that may become master of mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub name: NodeName,
    /// Its share, at least 1.
    pub weight: u32,
    /// Hash of its name, for whoever ranks.
    pub seed: u64,
}

/// Who should be master: decided elsewhere (`placement`), asked here.
#[derive(Clone, Copy, Debug)]
pub struct Preference {
    /// The nodes that may become masters.
    pub candidates: fn(&Snapshot) -> Vec<Candidate>,
    /// How many candidates should rather be master of a mount than the one that is named, counted to a maximum.
    pub rank: fn(&[Candidate], &Candidate, &MountPath, usize) -> usize,
}

/// Mounts without a master, and when this node claims each.
#[derive(Debug)]
pub(super) struct Orphans {
    own: NodeName,
    preference: Preference,
    candidates: Vec<Candidate>,
    /// Since when (on any clock that does not jump), and this node's rank, `None` while it is no candidate.
    seen: BTreeMap<MountPath, (Duration, Option<usize>)>,
}

impl Orphans {
    /// None seen yet.
    pub(super) fn new(own: NodeName, preference: Preference) -> Self {
        Self { own, preference, candidates: Vec::new(), seen: BTreeMap::new() }
    }

    /// Takes in a snapshot that came at `now`. Ranks are computed once, and again only when the candidates change.
    pub(super) fn observe(&mut self, snapshot: &Snapshot, now: Duration) {
        let orphaned = |path: &MountPath| {
            snapshot.mounts.contains_key(path) && !snapshot.masters.contains_key(path)
        };
        self.seen.retain(|path, _| orphaned(path));
        let candidates = (self.preference.candidates)(snapshot);
        let own = candidates.iter().find(|candidate| candidate.name == self.own);
        let rank =
            |path: &MountPath| Some((self.preference.rank)(&candidates, own?, path, RANK_MAX));
        if candidates != self.candidates {
            for (path, (_, ranked)) in &mut self.seen {
                *ranked = rank(path);
            }
        }
        for path in snapshot.mounts.keys().filter(|path| !snapshot.masters.contains_key(*path)) {
            if !self.seen.contains_key(path) {
                self.seen.insert(path.clone(), (now, rank(path)));
            }
        }
        self.candidates = candidates;
    }

    /// What to claim at `now`, first what this node is preferred for, and when the next claim after it is due.
    pub(super) fn due(&self, now: Duration) -> (Vec<MountPath>, Option<Duration>) {
        let (mut due, mut next) = (Vec::new(), None);
        let head_start = head_start(self.seen.len());
        for (path, (since, rank)) in &self.seen {
            let Some(rank) = rank else { continue };
            // `RANK_MAX` at most.
            let at = *since + head_start * *rank as u32;
            if at <= now {
                due.push((*rank, path));
            } else if next.is_none_or(|next| at < next) {
                next = Some(at);
            }
        }
        due.sort_by_key(|(rank, _)| *rank);
        (due.into_iter().map(|(_, path)| path.clone()).collect(), next)
    }

    /// These were claimed at `now`, by whomever: the next snapshots show it.
    pub(super) fn asked(&mut self, paths: &[MountPath], now: Duration) {
        for path in paths {
            if let Some((since, _)) = self.seen.get_mut(path) {
                *since = now + ASK_AGAIN;
            }
        }
    }
}

/// Head start of each rank over the next while there are so many orphans.
fn head_start(orphans: usize) -> Duration {
    // At most ten thousand mounts.
    RANK_DELAY + TRANSACTION_TIME * (orphans / CLAIMS_PER_TRANSACTION) as u32
}

/// The mounts whose master is `own`.
pub(super) fn held_by<'a>(
    snapshot: &'a Snapshot,
    own: &'a NodeName,
) -> impl Iterator<Item = &'a MountPath> {
    snapshot.masters.iter().filter(move |(_, master)| master.node == *own).map(|(path, _)| path)
}

/// Claims of `own` on mounts that were deleted.
pub(super) fn to_give_back(snapshot: &Snapshot, own: &NodeName) -> Vec<MountPath> {
    held_by(snapshot, own).filter(|path| !snapshot.mounts.contains_key(*path)).cloned().collect()
}

/// What a draining node hands over next, nothing unless somebody else could take it.
///
/// A mount with a source goes alone, so that one source at a time has to move; mounts without one go in company
/// afterwards.
pub(super) fn to_hand_over(
    snapshot: &Snapshot,
    own: &NodeName,
    candidates: &[Candidate],
) -> Vec<MountPath> {
    let others_can = !candidates.is_empty() && candidates.iter().all(|it| it.name != *own);
    if !snapshot.draining.contains(own) || !others_can {
        return Vec::new();
    }
    // A set once: a thousand reports for each of ten thousand mounts would be too many to look through.
    let live: HashSet<&MountPath> =
        snapshot.loads.values().flat_map(|load| load.sources.keys()).collect();
    match held_by(snapshot, own).find(|path| live.contains(path)) {
        Some(path) => vec![path.clone()],
        None => held_by(snapshot, own).take(CLAIMS_PER_TRANSACTION).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{LoadRecord, Master, MountRecord, SourceRecord};
    use std::sync::Arc;

    /// Every node is a candidate unless it drains; the rank is the place in name order.
    const BY_NAME: Preference = Preference {
        candidates: |snapshot| {
            let able = snapshot.nodes.keys().filter(|name| !snapshot.draining.contains(*name));
            let candidate = |name: &NodeName| Candidate { name: name.clone(), weight: 1, seed: 0 };
            able.map(candidate).collect()
        },
        rank: |candidates, own, _, max| {
            candidates.iter().filter(|it| it.name < own.name).count().min(max)
        },
    };

    fn name(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn snapshot(nodes: &[&str], mounts: &[&str], masters: &[(&str, &str)]) -> Snapshot {
        let record = |path: &&str| {
            let path: MountPath = path.parse().unwrap();
            (path.clone(), Arc::new(MountRecord::new(path, "source", "x".to_owned())))
        };
        let node = |name: &&str| {
            let json = serde_json::json!({
                "schema": 1, "name": name, "domain": "radio.test", "addresses": ["192.0.2.1"],
                "peer_address": "192.0.2.1", "http_port": 80, "icecast_port": 8000, "version": "0",
            });
            (name.parse().unwrap(), Arc::new(serde_json::from_value(json).unwrap()))
        };
        let master = |(path, node): &(&str, &str)| {
            (path.parse().unwrap(), Master { node: name(node), epoch: 1 })
        };
        Snapshot {
            nodes: nodes.iter().map(node).collect(),
            mounts: mounts.iter().map(record).collect(),
            masters: masters.iter().map(master).collect(),
            ..Snapshot::default()
        }
    }

    fn texts(paths: &[MountPath]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    fn due(orphans: &Orphans, now_ms: u64) -> (Vec<String>, Option<Duration>) {
        let (due, next) = orphans.due(Duration::from_millis(now_ms));
        (texts(&due), next)
    }

    #[test]
    fn only_mounts_without_a_master_are_claimed() {
        for (why, mounts, masters, claim, give_back) in [
            ("an empty cluster", &[][..], &[][..], &[][..], &[][..]),
            ("a new mount", &["/m"], &[], &["/m"], &[]),
            ("mine already", &["/m"], &[("/m", "a")], &[], &[]),
            ("a peer's", &["/m"], &[("/m", "b")], &[], &[]),
            ("deleted while mine", &[], &[("/m", "a")], &[], &["/m"]),
            ("deleted while a peer's", &[], &[("/m", "b")], &[], &[]),
        ] {
            let snapshot = snapshot(&["a", "b"], mounts, masters);
            let mut orphans = Orphans::new(name("a"), BY_NAME);
            orphans.observe(&snapshot, Duration::ZERO);
            assert_eq!(due(&orphans, 0).0, claim, "{why}");
            assert_eq!(texts(&to_give_back(&snapshot, &name("a"))), give_back, "{why}");
        }
    }

    #[test]
    fn each_rank_waits_its_turn_from_when_it_first_saw_the_orphan() {
        let nodes: Vec<String> = (0..20).map(|n| format!("n{n:02}")).collect();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let orphaned = snapshot(&nodes, &["/m"], &[]);
        for (rank, at_ms) in [(0, 1_000), (1, 1_300), (2, 1_600), (10, 4_000), (19, 4_000)] {
            let mut orphans = Orphans::new(name(nodes[rank]), BY_NAME);
            orphans.observe(&orphaned, Duration::from_secs(1));
            orphans.observe(&orphaned, Duration::from_millis(1_200));
            let next = Some(Duration::from_millis(at_ms));
            if rank > 0 {
                assert_eq!(due(&orphans, at_ms - 1), (vec![], next), "rank {rank}");
            }
            assert_eq!(due(&orphans, at_ms), (vec!["/m".to_owned()], None), "rank {rank}");
        }
    }

    #[test]
    fn a_crowd_of_orphans_gives_the_preferred_node_more_time() {
        let mounts: Vec<String> = (0..640).map(|n| format!("/m{n:03}")).collect();
        let mounts: Vec<&str> = mounts.iter().map(String::as_str).collect();
        let mut orphans = Orphans::new(name("b"), BY_NAME);
        orphans.observe(&snapshot(&["a", "b"], &mounts, &[]), Duration::ZERO);
        assert_eq!(due(&orphans, 499), (vec![], Some(Duration::from_millis(500))));
        assert_eq!(due(&orphans, 500).0.len(), 640);
        orphans.observe(&snapshot(&["a", "b"], &mounts[..60], &[]), Duration::from_millis(300));
        assert_eq!(due(&orphans, 300).0.len(), 60, "few are left: the rest goes as usual");
    }

    #[test]
    fn what_was_claimed_is_claimed_again_only_if_it_stays_without_a_master() {
        let orphaned = snapshot(&["a", "b"], &["/m"], &[]);
        let mut orphans = Orphans::new(name("a"), BY_NAME);
        orphans.observe(&orphaned, Duration::ZERO);
        orphans.asked(
            &due(&orphans, 0).0.iter().map(|it| it.parse().unwrap()).collect::<Vec<_>>(),
            Duration::ZERO,
        );
        orphans.observe(&orphaned, Duration::from_millis(50));
        assert_eq!(due(&orphans, 50), (vec![], Some(ASK_AGAIN)));
        assert_eq!(due(&orphans, 1_000).0, ["/m"]);
    }

    #[test]
    fn a_mount_that_found_a_master_is_forgotten_and_waits_anew() {
        let mut orphans = Orphans::new(name("b"), BY_NAME);
        orphans.observe(&snapshot(&["a", "b"], &["/m"], &[]), Duration::ZERO);
        let taken = snapshot(&["a", "b"], &["/m"], &[("/m", "a")]);
        orphans.observe(&taken, Duration::from_millis(100));
        assert_eq!(due(&orphans, 9_000), (vec![], None));
        orphans.observe(&snapshot(&["a", "b"], &["/m"], &[]), Duration::from_secs(10));
        assert_eq!(due(&orphans, 10_000), (vec![], Some(Duration::from_millis(10_300))));
    }

    #[test]
    fn ranks_follow_the_candidates() {
        let mut orphans = Orphans::new(name("b"), BY_NAME);
        orphans.observe(&snapshot(&["a", "b"], &["/m"], &[]), Duration::ZERO);
        assert!(due(&orphans, 0).0.is_empty());
        orphans.observe(&snapshot(&["b"], &["/m"], &[]), Duration::from_millis(50));
        assert_eq!(due(&orphans, 50).0, ["/m"], "the one before is gone");
        let mut draining = snapshot(&["a", "b"], &["/m"], &[]);
        draining.draining.insert(name("b"));
        orphans.observe(&draining, Duration::from_millis(100));
        assert_eq!(due(&orphans, 90_000), (vec![], None), "a draining node claims nothing");
    }

    #[test]
    fn a_draining_node_hands_over_live_mounts_one_by_one_and_the_others_after() {
        let own = name("a");
        let held = [("/a", "a"), ("/b", "a"), ("/c", "a"), ("/d", "b")];
        let mut snapshot = snapshot(&["a", "b"], &["/a", "/b", "/c", "/d"], &held);
        let next = |snapshot: &Snapshot| {
            texts(&to_hand_over(snapshot, &own, &(BY_NAME.candidates)(snapshot)))
        };
        assert!(next(&snapshot).is_empty(), "nobody drains");
        snapshot.draining.insert(own.clone());
        assert_eq!(next(&snapshot), ["/a", "/b", "/c"]);
        let mut load = LoadRecord::idle();
        let source = SourceRecord { since_unix_s: 1, content_type: String::new() };
        load.sources.insert("/b".parse().unwrap(), source);
        snapshot.loads.insert(name("b"), Arc::new(load));
        assert_eq!(next(&snapshot), ["/b"]);
        snapshot.draining.insert(name("b"));
        assert!(next(&snapshot).is_empty(), "nobody could take it");
        snapshot.nodes.remove(&name("b"));
        assert!(next(&snapshot).is_empty(), "alone");
    }
}
