//! More nodes than etcd has votes for, and a node that leaves for good.

use autoradio_lab::{Lab, Node, faults};

use crate::rig::{MOUNT, SOON, cluster};

/// The most that vote.
const VOTERS_MAX: usize = 5;

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn five_nodes_vote_a_sixth_is_a_client_and_one_that_leaves_is_removed() {
    let (lab, _mount) = cluster(VOTERS_MAX + 1);
    let runs_etcd = |node: &&Node| !faults::find(node.host(), "etcd").is_empty();
    let (voters, clients): (Vec<&Node>, Vec<&Node>) = lab.nodes().iter().partition(runs_etcd);
    assert_eq!((voters.len(), clients.len()), (VOTERS_MAX, 1));
    let sixth = clients[0];
    assert!(sixth.status().unwrap().ready);
    lab.wait_master_seen_by(MOUNT, &[sixth], SOON).expect("it follows the cluster");

    let gone = voters.iter().find(|node| node.host().name() != "node1").expect("five vote");
    let leaving = gone.host().name();
    gone.stop(SOON * 3).unwrap();
    lab.node(1).radioctl_text(&["cluster", "remove", leaving]).unwrap();
    let left = lab.node(1).etcd_voters().unwrap();
    assert!(!left.iter().any(|name| name == leaving), "{left:?}");
    assert_others_are_ready(&lab, leaving);
}

fn assert_others_are_ready(lab: &Lab, leaving: &str) {
    lab.wait_until("the others go on", SOON, || {
        let mut others = lab.nodes().iter().filter(|node| node.host().name() != leaving);
        others.all(Node::is_ready)
    })
    .unwrap();
}
