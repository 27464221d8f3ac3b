//! Masters that are cut off: from etcd alone, and from every other node.

use std::time::Duration;

use autoradio_lab::failover::Watch;
use autoradio_lab::prober::Moment;
use autoradio_lab::{Host, Lab, Node, faults};

use crate::rig::{
    BUSY_MS, ELECTION_MS, ETCD_PORTS, LEASE_MS, MOUNT, SOON, WHOLE, cluster, master, wait_standing,
    watched,
};

/// How long a node may be alone before it closes its sources once.
const ALONE_MS: u64 = 10_000;

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_master_cut_off_from_etcd_steps_down_if_a_peer_has_quorum_and_holds_over_if_none_answers() {
    let (lab, mount) = cluster(3);
    let watch = watched(&lab, &mount);
    without_etcd(&lab, &watch);
    watch.wait_steady(WHOLE).unwrap();
    without_anybody(&lab, &watch);
    watch.wait_steady(WHOLE).unwrap();
}

/// Peers answer and say that they have quorum: somebody else may become master any moment.
fn without_etcd(lab: &Lab, watch: &Watch<'_>) {
    let cut = master(lab);
    watch.enter_through(cut, SOON).unwrap();
    let session = watch.last_session();
    let others: Vec<_> = lab.others(cut).iter().map(|node| node.host().v4()).collect();
    watch.source().use_nodes(&others);
    let start = Moment::now();
    faults::cut_ports(cut.host(), ETCD_PORTS).unwrap();
    wait_standing(lab, cut, &["stepped-down"], SOON);
    watch.wait_on_air(session, SOON).unwrap();
    let lost = lost_ms(watch, session, start);
    assert!(lost <= LEASE_MS + ELECTION_MS + BUSY_MS, "the source was closed after {lost} ms");
    let back = watch.source().on_air().expect("it was on air").accepted.ms_since(start);
    assert!(back <= 8_000 + BUSY_MS, "the source was accepted again after {back} ms");
    faults::mend_ports(cut.host(), ETCD_PORTS).unwrap();
    wait_standing(lab, cut, &["sure"], WHOLE);
}

/// Nobody answers: the mount stays where it is, and its source is closed once, to look around.
fn without_anybody(lab: &Lab, watch: &Watch<'_>) {
    let alone = master(lab);
    let others: Vec<&Host> = lab.others(alone).into_iter().map(Node::host).collect();
    let epoch = alone.status().unwrap().epoch(MOUNT);
    // Enters here and comes back here: the client knows no other node.
    watch.enter_through(alone, SOON).unwrap();
    let session = watch.last_session();
    let start = Moment::now();
    faults::partition(&[alone.host()], &others).unwrap();
    wait_standing(lab, alone, &["alone"], SOON);
    let limit = Duration::from_millis(ALONE_MS + LEASE_MS + BUSY_MS);
    watch.wait_on_air(session, limit).unwrap();
    let lost = lost_ms(watch, session, start);
    assert!(lost >= ALONE_MS, "the source was closed after {lost} ms, before its time");
    let back = Moment::now();
    lab.wait_until("some time goes by", SOON, || Moment::now().ms_since(back) > 4_000).unwrap();
    let on_air = watch.source().on_air().map(|now| now.number);
    assert_eq!(on_air, Some(session + 1), "the source that came back was closed again");
    assert_eq!(alone.status().unwrap().epoch(MOUNT), epoch, "it cannot know of a newer epoch");

    faults::reunite(&[alone.host()], &others).unwrap();
    lab.wait_whole(WHOLE).unwrap();
    wait_standing(lab, alone, &["sure"], WHOLE);
    // Meanwhile the others had quorum, and a master of their own: this one's source has to go.
    lab.wait_until("the newer epoch counts", SOON, || {
        let newer = |node: &Node| node.status().is_ok_and(|status| status.epoch(MOUNT) > epoch);
        lab.nodes().iter().all(newer)
    })
    .unwrap();
    watch.wait_on_air(session + 1, SOON).unwrap();
}

/// When the session ended, in milliseconds after `start`.
fn lost_ms(watch: &Watch<'_>, session: u32, start: Moment) -> u64 {
    let sessions = watch.source().sessions();
    let lost = sessions.iter().find(|one| one.number == session).and_then(|one| one.lost);
    let lost = lost.expect("the session has ended");
    assert!(lost.told, "a source that has to go is told");
    lost.at.ms_since(start)
}
