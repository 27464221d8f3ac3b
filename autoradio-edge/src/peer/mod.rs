//! Peers, asked directly: what a node does when etcd does not tell it about them.
//!
//! A node that is not sure of its lease asks its peers whether *they* have etcd ([`judge`]). Each node probes its next two
//! neighbours in name order ([`neighbours`]): a port that their own kernel says is closed tells of a dead daemon long
//! before its lease ends. In: nodes of a snapshot, answers. Out: a verdict. Never here: etcd. `socket.rs` has the sockets.

mod ask;
mod socket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::cluster::{NodeName, NodeRecord, Snapshot, Standing};

pub(crate) use ask::parameter;
pub use ask::{PeerAsk, PeerListener, STATE_PATH, Told};
pub use socket::{Probe, ask_all, probe, tell_each};

/// The name peers give.
const USER: &str = "peer";
/// Neighbours each node watches: with two, one watcher may die together with whom it watches.
const WATCHED: usize = 2;

/// What a node answers its peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerState {
    /// Its name.
    pub name: NodeName,
    /// Its id.
    pub id: String,
    /// Whether it is sure of its lease and etcd has answered its last question.
    pub quorum: bool,
    /// How long ago it asked the last question that etcd has answered, in milliseconds.
    pub quorum_age_ms: u64,
    /// For how long etcd has answered all its questions, in milliseconds. A peer of a version that does not tell counts as
    /// one that etcd has always answered.
    #[serde(default = "always")]
    pub quorum_for_ms: u64,
    /// Revision of its snapshot.
    pub revision: i64,
}

fn always() -> u64 {
    u64::MAX
}

/// A peer's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it said.
    pub state: PeerState,
    /// When it was asked, in nanoseconds of this node's boot-time clock.
    pub asked_ns: u64,
}

/// What came of asking all peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Those that gave their state.
    pub heard: Vec<Heard>,
    /// How many took the connection and gave none: too busy, full or stopped, but there.
    pub mute: usize,
}

/// What the answers of all peers mean for a node that etcd leaves without an answer since `silent_since_ns`, and whose
/// lease surely lives for `sure_for` once etcd has extended it.
///
/// A peer that etcd has answered since then proves that others have a quorum. One that merely has not noticed yet that
/// etcd is gone proves nothing: then nothing is decided, and peers are asked again. So it is where peers are there and
/// none of them says anything: they may have a quorum, and this node is not alone.
///
/// A peer that etcd answers again only for a moment proves nothing yet either. When a quorum comes back after an outage of
/// the whole cluster, its new leader extends all leases by their full time, so nobody can claim before `sure_for` is over,
/// and peers hear of the quorum a little earlier than this node does. If the peer alone was cut off, others may have
/// claimed meanwhile. Then this node keeps its sources for so much longer, unless one of those others answers too: they
/// prove at once. It accepts none in that time, and what it has accepted belongs to an older epoch.
pub fn judge(answers: &Answers, silent_since_ns: Option<u64>, sure_for: Duration) -> Standing {
    let Answers { heard, mute } = answers;
    let proves = |heard: &Heard| {
        let PeerState { quorum_age_ms, quorum_for_ms, .. } = heard.state;
        let answered_ns = heard.asked_ns.saturating_sub(quorum_age_ms.saturating_mul(1_000_000));
        let lasts = Duration::from_millis(quorum_for_ms) >= sure_for;
        lasts && silent_since_ns.is_some_and(|since_ns| answered_ns > since_ns)
    };
    let mut with_quorum = heard.iter().filter(|heard| heard.state.quorum).peekable();
    if heard.is_empty() && *mute > 0 {
        Standing::Asking
    } else if with_quorum.peek().is_none() {
        Standing::HoldingOver { alone: heard.is_empty() }
    } else if with_quorum.any(proves) {
        Standing::SteppedDown
    } else {
        Standing::Asking
    }
}

/// The neighbours that `own` watches: the next two in name order, around the end.
pub fn neighbours(snapshot: &Snapshot, own: &NodeName) -> Vec<Arc<NodeRecord>> {
    ring(snapshot, own).take(WATCHED).cloned().collect()
}

/// At most `max` of `own`'s peers, spread evenly over all of them: those whose names are close to each other tend to be
/// close to each other, and to be lost together.
pub fn spread(snapshot: &Snapshot, own: &NodeName, max: usize) -> Vec<Arc<NodeRecord>> {
    let peers: Vec<_> = ring(snapshot, own).collect();
    let some = peers.len().min(max);
    (0..some).map(|number| peers[number * peers.len() / some].clone()).collect()
}

/// The peers of `own` in name order, around the end.
fn ring<'a>(
    snapshot: &'a Snapshot,
    own: &'a NodeName,
) -> impl Iterator<Item = &'a Arc<NodeRecord>> {
    let after = snapshot.nodes.iter().filter(move |(name, _)| *name > own);
    let before = snapshot.nodes.iter().filter(move |(name, _)| *name < own);
    after.chain(before).map(|(_, record)| record)
}

/// The value of an `Authorization` field that peers know each other by.
pub(crate) fn authorization(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{password}")))
}

/// Whether `given` is that value.
pub(crate) fn is_peer(given: Option<&str>, password: &str) -> bool {
    let given = given.unwrap_or_default().trim();
    given.as_bytes().ct_eq(authorization(password).as_bytes()).into()
}

/// Tells this node's own state, to whoever answers its peers.
#[derive(Clone)]
pub struct OwnState(Arc<dyn Fn() -> PeerState + Send + Sync>);

impl OwnState {
    /// The state as `tell` tells it.
    pub fn new(tell: impl Fn() -> PeerState + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The state now.
    pub fn now(&self) -> PeerState {
        (self.0)()
    }
}

impl fmt::Debug for OwnState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("OwnState").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURE_FOR: Duration = Duration::from_millis(2_700);

    fn heard(quorum: bool, quorum_age_ms: u64) -> Heard {
        heard_after(quorum, quorum_age_ms, 600_000)
    }

    fn heard_after(quorum: bool, quorum_age_ms: u64, quorum_for_ms: u64) -> Heard {
        let state = PeerState {
            name: "b".parse().unwrap(),
            id: String::new(),
            quorum,
            quorum_age_ms,
            quorum_for_ms,
            revision: 1,
        };
        Heard { state, asked_ns: 20_000_000_000 }
    }

    #[test]
    fn peers_decide_what_becomes_of_a_node_without_etcd() {
        let holding = |alone| Standing::HoldingOver { alone };
        let silent_since_ns = Some(19_000_000_000);
        let answers = |heard: &[Heard], mute| Answers { heard: heard.to_vec(), mute };
        for (why, heard, mute, want) in [
            ("nobody answers", &[][..], 0, holding(true)),
            ("somebody is there and says nothing", &[], 1, Standing::Asking),
            ("nobody has a quorum", &[heard(false, 5_000), heard(false, 10)], 0, holding(false)),
            ("who answers speaks for the mute", &[heard(false, 10)], 1, holding(false)),
            ("one has", &[heard(false, 5_000), heard(true, 900)], 1, Standing::SteppedDown),
            ("it has not noticed", &[heard(true, 1_000), heard(false, 10)], 0, Standing::Asking),
            ("an age beyond all time", &[heard(true, u64::MAX)], 0, Standing::Asking),
        ] {
            assert_eq!(judge(&answers(heard, mute), silent_since_ns, SURE_FOR), want, "{why}");
        }
        let unasked = judge(&answers(&[heard(true, 0)], 0), None, SURE_FOR);
        assert_eq!(unasked, Standing::Asking, "this node's own question is still on its way");
    }

    #[test]
    fn a_quorum_that_has_just_come_back_proves_nothing_before_a_lease_could_end() {
        let silent_since_ns = Some(9_000_000_000);
        let young = || heard_after(true, 20, 20);
        for (why, heard, want) in [
            ("all of them have it again", vec![young(), young()], Standing::Asking),
            ("nearly", vec![heard_after(true, 500, 2_699)], Standing::Asking),
            ("a lease may have ended", vec![heard_after(true, 500, 2_700)], Standing::SteppedDown),
            ("one never lost it", vec![young(), heard(true, 500)], Standing::SteppedDown),
            ("others lack it still", vec![young(), heard(false, 9_000)], Standing::Asking),
        ] {
            let answers = Answers { heard, mute: 0 };
            assert_eq!(judge(&answers, silent_since_ns, SURE_FOR), want, "{why}");
        }
    }

    #[test]
    fn a_peer_that_does_not_say_since_when_it_has_quorum_has_always_had_it() {
        let json = r#"{"name":"b","id":"x","quorum":true,"quorum_age_ms":7,"revision":9}"#;
        let state: PeerState = serde_json::from_str(json).unwrap();
        let answers = Answers { heard: vec![Heard { state, asked_ns: 20_000_000_000 }], mute: 0 };
        assert_eq!(judge(&answers, Some(9_000_000_000), SURE_FOR), Standing::SteppedDown);
    }

    fn node(name: &str) -> (NodeName, Arc<NodeRecord>) {
        let json = serde_json::json!({
            "schema": 1, "name": name, "domain": "radio.test", "addresses": ["192.0.2.1"],
            "peer_address": "192.0.2.1", "http_port": 80, "icecast_port": 8000, "version": "0",
        });
        (name.parse().unwrap(), Arc::new(serde_json::from_value(json).unwrap()))
    }

    #[test]
    fn whom_a_node_asks_is_spread_over_all_its_peers() {
        let nodes = (0..1_000).map(|number| node(&format!("n{number:03}"))).collect();
        let snapshot = Snapshot { nodes, ..Snapshot::default() };
        let asked = |own: &str, max| -> Vec<String> {
            let peers = spread(&snapshot, &own.parse().unwrap(), max);
            peers.iter().map(|record| record.name.to_string()).collect()
        };
        assert_eq!(asked("n500", 4), ["n501", "n750", "n000", "n250"]);
        let mut all = asked("n007", 5_000);
        all.sort();
        all.dedup();
        assert!(all.len() == 999 && !all.contains(&"n007".to_owned()));
        assert!(asked("n007", 0).is_empty());
    }

    #[test]
    fn every_node_is_watched_by_the_two_before_it() {
        let watched = |nodes: &[&str], own: &str| {
            let nodes = nodes.iter().map(|name| node(name)).collect();
            let snapshot = Snapshot { nodes, ..Snapshot::default() };
            let neighbours = neighbours(&snapshot, &own.parse().unwrap());
            neighbours.iter().map(|record| record.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(watched(&["a", "b", "c", "d"], "a"), ["b", "c"]);
        assert_eq!(watched(&["a", "b", "c", "d"], "c"), ["d", "a"]);
        assert_eq!(watched(&["a", "b"], "b"), ["a"]);
        assert!(watched(&["a"], "a").is_empty());
        assert_eq!(watched(&["a", "c"], "b"), ["c", "a"], "though its own record is gone");
    }

    #[test]
    fn only_the_clusters_own_password_makes_a_peer() {
        let right = authorization("secret");
        assert!(is_peer(Some(&right), "secret"));
        assert!(!is_peer(Some(&right), "other"));
        assert!(!is_peer(Some("Basic cGVlcjo="), "secret"));
        assert!(!is_peer(None, "secret"));
    }
}
